"""Signatures of Standard Webhooks 1.0.0, as pure functions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import secrets as randomness
from collections.abc import Iterable
from datetime import datetime

PREFIX = "whsec_"
_LEAST, _MOST = 24, 64


def new_secret() -> str:
    """A new random secret of 32 bytes."""
    return PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes of `secret`; raises ValueError unless it is ``whsec_`` and the base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a secret is whsec_ and base64") from error
    if not secret.startswith(PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise ValueError(f"a secret is whsec_ and the base64 of {_LEAST} to {_MOST} bytes")
    return key


def seconds(at: datetime) -> int:
    """The whole seconds of the instant `at`; raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone names no instant")
    return math.floor(at.timestamp())


def signature(secret: str, message_id: str, stamp: int, body: bytes) -> str:
    """One entry of `webhook-signature`: ``v1,`` and the base64 of HMAC-SHA-256 over ``id.timestamp.body``."""
    signed = f"{message_id}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()


def headers(secrets: Iterable[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a message that is sent at `at`, with a signature for each of `secrets`."""
    stamp = seconds(at)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": " ".join(signature(secret, message_id, stamp, body) for secret in secrets),
    }
