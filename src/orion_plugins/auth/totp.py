"""Time-based one-time codes (RFC 6238): SHA-1, 6 digits, 30 seconds, one step of tolerance either way."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

STEP = 30
DIGITS = 6
TOLERANCE = 1
_CODE = re.compile(r"[0-9]{6}")


def new_seed() -> bytes:
    """160 random bits, as RFC 4226 recommends."""
    return secrets.token_bytes(20)


def is_code(text: str) -> bool:
    """Whether `text` has the form of a code: 6 ASCII digits."""
    return _CODE.fullmatch(text) is not None


def code_at(seed: bytes, step: int) -> str:
    """The code of a time step (RFC 4226, 5.3)."""
    digest = hmac.digest(seed, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def step_at(now: datetime) -> int:
    """The number of the time step."""
    return int(now.timestamp()) // STEP


def matching_step(seed: bytes, code: str, now: datetime) -> int | None:
    """The time step whose code this is, at most one away from now; None if it is none. Looks at all of them."""
    if not is_code(code):
        return None
    found = None
    present = step_at(now)
    for step in range(present - TOLERANCE, present + TOLERANCE + 1):
        if hmac.compare_digest(code_at(seed, step), code):
            found = step
    return found


def shown(seed: bytes) -> str:
    """The seed in base32, as people type it."""
    return base64.b32encode(seed).decode()


def uri(seed: bytes, *, product: str, account: str) -> str:
    """The ``otpauth:`` address that apps read from a picture."""
    label = quote(f"{product}:{account}", safe="")
    told = {"secret": shown(seed), "issuer": product, "algorithm": "SHA1", "digits": DIGITS, "period": STEP}
    return f"otpauth://totp/{label}?{urlencode(told, quote_via=quote)}"
