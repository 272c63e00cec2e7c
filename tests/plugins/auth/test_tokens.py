"""Access tokens and refresh tokens."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from orion_core.keyring import Key
from orion_plugins.auth.tokens import (
    Grant,
    access_token,
    fingerprint,
    is_refresh_token,
    new_refresh_token,
    public_key,
)

KEY = Key("k1", b"s" * 32)
NOW = datetime(2030, 1, 1, 12, 0, 0, 900_000, tzinfo=UTC)
GRANT = Grant(user_id=UUID(int=1), session_id=UUID(int=2), version=7, signed_in_at=NOW, amr=("pwd",))


def part(token: str, index: int) -> dict[str, object]:
    text = token.split(".")[index]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def test_an_access_token_has_the_header_and_claims_of_the_profile_and_nothing_personal() -> None:
    """A15."""
    token = access_token(GRANT, KEY, issuer="https://x.org", now=NOW, ttl=timedelta(hours=1))

    issued = int(NOW.timestamp())
    claims = part(token, 1)
    assert part(token, 0) == {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
    assert len(str(claims.pop("jti"))) >= 22
    assert claims == {
        "iss": "https://x.org",
        "aud": "orion",
        "sub": str(UUID(int=1)),
        "sid": str(UUID(int=2)),
        "iat": issued,
        "nbf": issued,
        "exp": issued + 3600,
        "auth_time": issued,
        "amr": ["pwd"],
        "ver": 7,
    }


def test_two_access_tokens_for_one_grant_differ() -> None:
    """A15."""
    first, second = (access_token(GRANT, KEY, issuer="i", now=NOW, ttl=timedelta(hours=1)) for _ in range(2))

    assert part(first, 1)["jti"] != part(second, 1)["jti"]


def test_a_public_key_has_the_members_of_rfc_8037_and_none_that_is_private() -> None:
    """A18."""
    key = public_key(KEY)

    assert (key.kid, key.kty, key.crv, key.alg, key.use) == ("k1", "OKP", "Ed25519", "EdDSA", "sig")
    assert len(base64.urlsafe_b64decode(key.x + "=")) == 32
    assert not hasattr(key, "d")


def test_a_refresh_token_has_256_random_bits_and_a_prefix_and_is_known_by_its_hash() -> None:
    """A20."""
    tokens = {new_refresh_token() for _ in range(100)}

    assert len(tokens) == 100
    for token in tokens:
        assert token.startswith("ort_")
        assert len(base64.urlsafe_b64decode(token.removeprefix("ort_") + "=")) == 32
        assert is_refresh_token(token)
        assert len(fingerprint(token)) == 64
        assert token.removeprefix("ort_") not in fingerprint(token)


def test_what_has_not_the_form_of_a_refresh_token_is_none() -> None:
    """A31."""
    token = new_refresh_token()

    for other in (
        "",
        "ort_",
        token[:-1],
        token + "A",
        token + "\n",
        "x" + token,
        token.upper()[:4] + token[4:],
        "ort_" + "ä" * 43,
    ):
        assert not is_refresh_token(other)
