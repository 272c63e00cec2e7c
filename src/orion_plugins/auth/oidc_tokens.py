"""ID tokens (OpenID Connect Core, 3.1.3.7), checked strictly before and after the signature."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from jwt.types import Options

from orion_core import jws
from orion_core.jws import BadToken
from orion_plugins.auth.oidc_settings import TENANT, is_tenant

ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""What may sign, with the type of its keys: public keys alone, so that no provider's key can be taken for a secret."""
LEEWAY = 30
_AGE = 600
_SMALLEST = 256
_BROUGHT = ("jwk", "jku", "x5u", "x5c", "crit", "b64", "zip")
_LONGEST = 16 * 1024
# Compared below, with the clock and the rules of this file.
_UNCHECKED: Options = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


@attrs.frozen
class Header:
    """What a token says of its signature, which nobody has checked."""

    alg: str
    kid: str


@attrs.frozen(kw_only=True)
class Expected:
    """What the claims of a token must say."""

    issuer: str
    client_id: str
    nonce: str
    now: datetime


def header(token: str, algorithms: Collection[str]) -> Header:
    """The header of `token`; raises `BadToken` unless its algorithm is among `algorithms` and it brings no key."""
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3:
        raise BadToken("a token has three parts")
    for part in parts:
        jws.decode(part)
    found = _object(parts[0])
    alg, kid = found.get("alg"), found.get("kid", "")
    if not isinstance(alg, str) or alg not in ALGORITHMS or alg not in algorithms:
        raise BadToken("algorithm")
    if not isinstance(kid, str) or any(name in found for name in _BROUGHT):
        raise BadToken("header")
    return Header(alg, kid)


def key_for(wanted: Header, keys: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The one key of a provider that may verify a token; None if there is none, or without a `kid` more than one."""
    fitting = [
        key
        for key in keys
        if key.get("kty") == ALGORITHMS[wanted.alg]
        and key.get("alg", wanted.alg) == wanted.alg
        and key.get("use", "sig") == "sig"
        and (not wanted.kid or key.get("kid") == wanted.kid)
    ]
    return fitting[0] if len(fitting) == 1 else None


def claims(token: str, alg: str, key: Mapping[str, Any], expected: Expected) -> dict[str, Any]:
    """The claims of `token`; raises `BadToken`, whose text is a word for the audit log."""
    try:
        if key.get("kty") == "RSA" and len(jws.decode(str(key.get("n", "")))) < _SMALLEST:
            raise BadToken("key_too_short")
        jwt.decode(token, PyJWK(dict(key), alg), algorithms=[alg], options=_UNCHECKED)
    except (PyJWTError, ValueError, TypeError) as error:
        raise BadToken("signature") from error
    found = _object(token.split(".")[1])
    issuer = expected.issuer
    if TENANT in issuer:
        tenant = found.get("tid")
        if not isinstance(tenant, str) or not is_tenant(tenant):
            raise BadToken("tenant")
        issuer = issuer.replace(TENANT, tenant)
    if found.get("iss") != issuer:
        raise BadToken("issuer")
    audience = found.get("aud")
    # One audience: others would mean that they are trusted with our tokens, which nobody has said.
    if audience not in (expected.client_id, [expected.client_id]) or found.get("azp", expected.client_id) != (
        expected.client_id
    ):
        raise BadToken("audience")
    now = expected.now.timestamp()
    if _time(found, "exp") <= now - LEEWAY:
        raise BadToken("expired")
    if not now - _AGE <= _time(found, "iat") <= now + LEEWAY or ("nbf" in found and _time(found, "nbf") > now + LEEWAY):
        raise BadToken("time")
    if found.get("nonce") != expected.nonce:
        raise BadToken("nonce")
    subject = found.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise BadToken("subject")
    return found


def _time(found: Mapping[str, Any], name: str) -> float:
    given = found.get(name)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadToken("time")
    return float(given)


def _object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(jws.decode(part), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BadToken("json") from error
    if not isinstance(found, dict):
        raise BadToken("json")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same name twice")
    return found
