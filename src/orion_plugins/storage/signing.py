"""Signatures of URLs: an HMAC over everything that the URL allows. Pure functions.

A signature is ``<claims>.<mac>``: the claims as base64url of JSON, the mac over exactly that text. There is one
spelling of each, so that any changed character makes it count no more (T36).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orion_core.contracts.storage import BadSignature, Method, SignatureExpired
from orion_core.keyring import Key

_PURPOSE = b"orion storage: signed URLs, version 1"


@attrs.frozen
class Claims:
    """What a signed URL allows: `method` on one key, until `expires` (Unix seconds), in the name of `by`."""

    method: Method
    bucket: str
    key: str
    expires: int
    max_size: int = 0
    content_type: str = ""
    by: UUID | None = None


def sign(claims: Claims, keys: Sequence[Key]) -> str:
    """The signature of `claims`, made with the first of `keys`."""
    content = json.dumps(
        [
            keys[0].kid,
            claims.method,
            claims.bucket,
            claims.key,
            claims.expires,
            claims.max_size,
            claims.content_type,
            str(claims.by or ""),
        ],
        separators=(",", ":"),
    )
    text = _encode(content.encode())
    return f"{text}.{_mac(keys[0], text)}"


def verify(signature: str, method: str, bucket: str, key: str, keys: Sequence[Key], now: datetime) -> Claims:
    """The claims of `signature`, if one of `keys` made it for `method` on this key and its time is not over.

    Raises `BadSignature` and `SignatureExpired`. HEAD is covered by GET.
    """
    text, _, mac = signature.partition(".")
    content = _decode(text)
    maker = next((each for each in keys if content and each.kid == content[0]), None)
    # Compared as text, so that a second spelling of the same bytes does not pass.
    if maker is None or not hmac.compare_digest(_mac(maker, text).encode(), mac.encode("utf-8", "replace")):
        raise BadSignature("the signature is not one of ours")
    _, signed_method, signed_bucket, signed_key, expires, max_size, content_type, by = content
    if (signed_method, signed_bucket, signed_key) != ("GET" if method == "HEAD" else method, bucket, key):
        raise BadSignature("the signature is for another method, bucket or key")
    if now.timestamp() >= expires:
        raise SignatureExpired("the signed URL has expired: have a new one signed")
    return Claims(signed_method, bucket, key, expires, max_size, content_type, UUID(by) if by else None)


def _mac(key: Key, text: str) -> str:
    derived = HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(key.secret)
    return _encode(hmac.new(derived, text.encode("utf-8", "replace"), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> list[Any]:
    try:
        content = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return []
    return content if isinstance(content, list) and len(content) == 8 else []
