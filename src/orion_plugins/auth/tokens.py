"""Tokens: signed access tokens (RFC 9068) and opaque refresh tokens (RFC 9700, 4.14.2)."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orion_core import jws
from orion_core.contracts.auth import AUDIENCE, PublicKey
from orion_core.keyring import Key

TYPE = "at+jwt"
ALGORITHM = "EdDSA"
_PREFIX = "ort_"
_KEY_PREFIX = "oak_"
_REFRESH_TOKEN = re.compile(r"ort_[A-Za-z0-9_-]{43}")


@attrs.frozen(kw_only=True)
class Grant:
    """What an access token says about its bearer: person, session, epoch, and when and how they signed in.

    `impersonator` is who acts as the person, if somebody does.
    """

    user_id: UUID
    session_id: UUID
    version: int
    signed_in_at: datetime
    amr: tuple[str, ...]
    impersonator: UUID | None = None


def access_token(grant: Grant, key: Key, *, issuer: str, now: datetime, ttl: timedelta) -> str:
    """A JWT for `grant`, signed with Ed25519. It holds ids and times, and nothing personal."""
    issued = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": str(grant.user_id),
        "sid": str(grant.session_id),
        "jti": secrets.token_urlsafe(16),
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(ttl.total_seconds()),
        "auth_time": int(grant.signed_in_at.timestamp()),
        "amr": list(grant.amr),
        "ver": grant.version,
    }
    if grant.impersonator is not None:
        claims["act"] = {"sub": str(grant.impersonator)}
    signer = Ed25519PrivateKey.from_private_bytes(key.secret)
    return jwt.encode(claims, signer, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": key.kid})


def public_key(key: Key) -> PublicKey:
    """The public half of a signing key."""
    public = Ed25519PrivateKey.from_private_bytes(key.secret).public_key()
    return PublicKey(kid=key.kid, x=jws.encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)))


def new_refresh_token() -> str:
    """A new opaque token of 256 random bits, ``ort_`` before them so that scanners of leaked secrets know it."""
    return _PREFIX + secrets.token_urlsafe(32)


def new_api_key() -> str:
    """A new API key of 256 random bits, ``oak_`` before them."""
    return _KEY_PREFIX + secrets.token_urlsafe(32)


def is_refresh_token(text: str) -> bool:
    """Whether `text` has the form of a refresh token; what has not is refused without asking the database."""
    return _REFRESH_TOKEN.fullmatch(text) is not None


def fingerprint(token: str) -> str:
    """The SHA-256 under which a token is stored. The token has 256 random bits, so nothing slower is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
