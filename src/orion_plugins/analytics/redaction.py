"""What must not be stored is taken out of properties before they are (Y31), as pure functions.

Keys that name a secret lose their value, keys that name an address of the network are dropped, and within texts emails,
tokens and secrets in the query of a URL are replaced.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

REDACTED = "[redacted]"
EMAIL = "[email]"

_SECRET_WORD = (
    r"pass(?:word|wd|phrase|code)|^pwd|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|authori[sz]ation|^auth$"
    r"|cookie|credential"
)
_SECRET_KEY = re.compile(_SECRET_WORD, re.IGNORECASE)
_SECRET_ITSELF = re.compile(rf"(?:{_SECRET_WORD})$", re.IGNORECASE)
"""Of a number only what is called just that is a secret: ``tokens_used`` and ``password_length`` are none."""
_NUMBER_KEY = re.compile(r"credit[-_]?card|card[-_]?number|^(cvv|cvc|pin|otp|ssn|iban)$", re.IGNORECASE)
_EMAIL_KEY = re.compile(r"(^|[-_.])e[-_]?mail(s|[-_]?addr(ess)?)?$|[a-z]Email$", re.IGNORECASE)
_ADDRESS_KEY = re.compile(
    r"^\$?((client|user|remote|source|x[-_]?real)?[-_]?ip([-_]?addr(ess)?)?|remote[-_]?addr|x[-_]?forwarded[-_]?for)$",
    re.IGNORECASE,
)
_ATOM = r"[^\s@\"'<>()\[\],;:=&?/\\.]{1,64}"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*(?:@|%40){_ATOM}(?:\.{_ATOM})+")
_SECRET = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JWT
    r"|\b[Bb](?:earer|asic) +[\w.~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:sk|pk|rk|whsec|ghp|gho|ghs|glpat|xox[abpr])[-_][\w-]{10,}"
    r"|\bAKIA[A-Z0-9]{16}\b",
    re.DOTALL,
)
_SECRET_IN_URL = re.compile(
    r"([?&#;](?:[\w.-]*(?:token|secret|password|passwd|signature|api[-_]?key)|key|code|sig|auth|otp|pwd)=)[^&#;\s]+",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\s,;\"'<>()=]+")
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def redacted(given: Any, key: str = "") -> Any:
    """`given`, any JSON value, fit to be stored."""
    if isinstance(given, dict):
        return {
            text(each): _member(text(each), inner) for each, inner in given.items() if not _ADDRESS_KEY.search(each)
        }
    if isinstance(given, list):
        return [redacted(item, key) for item in given]
    return text(given, key) if isinstance(given, str) else given


def text(given: str, key: str = "") -> str:
    """One text fit to be stored; `key` is what it is called."""
    # Neither database keeps these, and nobody means them.
    given = _UNSTORABLE.sub("\ufffd", given)
    if "version" not in key.lower() and (given.count(".") > 2 or given.count(":") > 1):
        given = _WORD.sub(lambda match: REDACTED if _is_address(match[0]) else match[0], given)
    if "@" in given or "%40" in given:
        given = _EMAIL.sub(EMAIL, given)
    if "=" in given:
        given = _SECRET_IN_URL.sub(rf"\1{REDACTED}", given)
    given = _SECRET.sub(REDACTED, given)
    return _CARD.sub(lambda match: REDACTED if _is_card(match[0]) else match[0], given)


def is_personal(given: str) -> bool:
    """Whether there is an email address, or one of the network, in `given`."""
    return _EMAIL.search(given) is not None or any(_is_address(match[0]) for match in _WORD.finditer(given))


def _member(key: str, inner: Any) -> Any:
    is_number = isinstance(inner, (int, float))
    if _NUMBER_KEY.search(key) or (_SECRET_ITSELF if is_number else _SECRET_KEY).search(key):
        return inner if inner is None or isinstance(inner, bool) else REDACTED
    if _EMAIL_KEY.search(key) and isinstance(inner, str):
        return EMAIL
    return redacted(inner, key)


def _is_address(given: str) -> bool:
    host = given.removeprefix("[").partition("]")[0].rstrip(".")
    if not 2 < len(host) < 50 or not (host.count(".") == 3 or ":" in host):
        return False
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_card(given: str) -> bool:
    """Whether the digits of `given` have the check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    digits = [int(each) for each in given if each.isdigit()]
    if len(set(digits)) == 1:
        return False
    doubled = [(digit * 2 - 9 if digit > 4 else digit * 2) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
