"""The grammar of signed tokens, checked strictly before any cryptography (RFC 7515, 7517, 7518, 7519, 8725).

Libraries forgive what attackers like: padding, stray characters, the same name twice, keys that a token brings along.
`parse` and `verification_key` forgive nothing; a signature is checked only for what passed both.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import attrs
from jwt import PyJWK
from jwt.exceptions import PyJWTError

MAX_BYTES = 8192
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_KEY_MEMBERS = frozenset({"jwk", "jku", "x5u", "x5c"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_ALGORITHMS = {"EdDSA": ("OKP", "Ed25519", 32)}
_SIGNATURE_BYTES = {"EdDSA": 64}


class BadToken(Exception):
    """What was given is no token, or no key, that may be looked at further; says which rule it broke."""


@attrs.frozen
class Unverified:
    """A token of the right form whose signature nobody has checked."""

    kid: str
    alg: str
    claims: Mapping[str, Any] = attrs.field(repr=False)


def parse(token: str, *, typ: str) -> Unverified:
    """`token` taken apart; raises `BadToken` unless it is a compact JWS of the type `typ` in canonical form.

    Its header must name a known algorithm and a `kid`, must not declare anything critical (no extension is understood
    here), and must not carry or point to a key.
    """
    if len(token) > MAX_BYTES:
        raise BadToken(f"a token has at most {MAX_BYTES} bytes")
    parts = token.split(".")
    if len(parts) != 3:
        raise BadToken("a token has three parts")
    header = _object(decode(parts[0]), "the header")
    claims = _object(decode(parts[1]), "the claims")
    signature = decode(parts[2])
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in _ALGORITHMS:
        raise BadToken("the algorithm is not one that is accepted here")
    if len(signature) != _SIGNATURE_BYTES[alg]:
        raise BadToken("the signature has not the length of its algorithm")
    if header.get("typ") != typ:
        raise BadToken(f"the type of the token is not {typ}")
    if not isinstance(kid, str) or not kid:
        raise BadToken("the header names no key")
    if "crit" in header or "b64" in header or "zip" in header:
        raise BadToken("the header asks for an extension")
    if brought := _KEY_MEMBERS & header.keys():
        raise BadToken(f"the token brings its own key ({', '.join(sorted(brought))})")
    return Unverified(kid, alg, claims)


def verification_key(jwk: Mapping[str, Any]) -> PyJWK:
    """The public key that `jwk` describes, bound to its one algorithm; raises `BadToken` if it may not verify."""
    alg = jwk.get("alg")
    if not isinstance(alg, str) or alg not in _ALGORITHMS:
        raise BadToken("the key has no algorithm that is accepted here")
    kty, crv, size = _ALGORITHMS[alg]
    if jwk.get("kty") != kty or jwk.get("crv") != crv:
        raise BadToken("the key's type does not fit its algorithm")
    if _PRIVATE_MEMBERS & jwk.keys():
        raise BadToken("a verification key has no private members")
    if jwk.get("use", "sig") != "sig":
        raise BadToken("the key is not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list | tuple) or len(set(map(str, operations))) != len(operations):
        raise BadToken("key_ops is no list of different operations")
    if "verify" not in operations:
        raise BadToken("the key is not for verifying")
    kid, x = jwk.get("kid"), jwk.get("x")
    if not isinstance(kid, str) or not kid:
        raise BadToken("the key has no id")
    if not isinstance(x, str) or len(decode(x)) != size:
        raise BadToken("the key has not the length of its type")
    try:
        return PyJWK({"kty": kty, "crv": crv, "alg": alg, "kid": kid, "x": x}, alg)
    except PyJWTError as error:
        raise BadToken("the key is no point of its curve") from error


def decode(text: str) -> bytes:
    """The bytes of base64url `text` without padding; raises `BadToken` for any but the one canonical form."""
    if not _BASE64URL.fullmatch(text):
        raise BadToken("not base64url: only A-Z, a-z, 0-9, - and _ are allowed")
    try:
        found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise BadToken("not base64url: the length is impossible") from None
    # Bits beyond the last byte are ignored by decoders, so two texts could mean the same.
    if encode(found) != text:
        raise BadToken("not base64url in its canonical form")
    return found


def encode(given: bytes) -> str:
    """`given` as base64url without padding."""
    return base64.urlsafe_b64encode(given).rstrip(b"=").decode()


def _object(given: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(given.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadToken(f"{what} is not JSON with unique names") from None
    if not isinstance(found, dict):
        raise BadToken(f"{what} is no JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same name twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
