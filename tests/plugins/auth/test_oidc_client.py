"""The client of a provider that people sign in with, against one that may misbehave."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from orion_core import jws
from orion_core.contracts.auth_oidc import ProviderUnavailable
from orion_core.jws import BadToken
from orion_core.secret import Secret
from orion_core.testing.clock import MovableClock
from orion_plugins.auth.oidc_clients import OidcClient, Profile
from orion_plugins.auth.oidc_http import OidcHttp, Reply, may_be_called
from orion_plugins.auth.oidc_settings import OidcProvider

ISSUER = "https://id.example"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
TENANT_A = "11111111-1111-1111-1111-111111111111"


def _key(kid: str) -> tuple[ec.EllipticCurvePrivateKey, dict[str, Any]]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": "ES256"}


@attrs.define
class Provider:
    """Answers like a provider; `claims` and `token` are what it says of somebody."""

    issuer: str = ISSUER
    claims: dict[str, Any] = attrs.field(factory=dict)
    metadata: dict[str, Any] = attrs.field(factory=dict)
    token: str = ""
    asked: list[tuple[str, str, bytes]] = attrs.field(factory=list)
    keys: list[Any] = attrs.field(factory=lambda: [_key("one")])
    github: tuple[Any, Any] = ({}, [])
    broken: bool = False

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        self.asked.append((url, headers.get("authorization", ""), body))
        if self.broken:
            raise ProviderUnavailable("away")
        found: Any
        if url.endswith("/openid-configuration"):
            found = {
                "issuer": self.issuer,
                "authorization_endpoint": f"{ISSUER}/authorize",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
                "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
                **self.metadata,
            }
        elif url.endswith("/keys"):
            found = {"keys": [public for _, public in self.keys]}
        elif url.endswith("/user"):
            found = self.github[0]
        elif url.endswith("/user/emails"):
            found = self.github[1]
        else:
            found = {"id_token": self.token or self.signed(), "access_token": "at"}
        return Reply(200, json.dumps(found).encode())

    def signed(self) -> str:
        at = int(NOW.timestamp())
        said = {"iss": self.issuer, "aud": "me", "sub": "s", "iat": at, "exp": at + 300, "nonce": "n", **self.claims}
        key, public = self.keys[-1]
        return jwt.encode(said, key, "ES256", headers={"kid": public["kid"]})

    def looks_at_keys(self) -> int:
        return sum(url.endswith("/keys") for url, _, _ in self.asked)


def client(provider: Provider, clock: MovableClock | None = None, **settings: Any) -> OidcClient:
    given = {"client_id": "me", "client_secret": Secret("s:e"), "issuer": ISSUER, **settings}
    return OidcClient(OidcProvider(**given), provider, clock or MovableClock(NOW))


async def ask(wanted: OidcClient) -> Profile:
    return await wanted.profile(code="c", verifier="v", nonce="n", redirect_uri="https://x.org/back")


async def test_a_code_gives_the_person_that_the_token_names() -> None:
    """A41: the identity is (`iss`, `sub`); the secret goes in a header, encoded, and the verifier with the code."""
    provider = Provider(claims={"email": "ada@x.org", "email_verified": True, "name": "Ada"})

    found = await ask(client(provider))

    assert found == Profile(issuer=ISSUER, subject="s", email="ada@x.org", verified=True, name="Ada")
    [(_, authorization, body)] = [each for each in provider.asked if each[0].endswith("/token")]
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"me:s%3Ae"
    assert parse_qs(body.decode())["code_verifier"] == ["v"]


async def test_the_browser_is_sent_with_state_nonce_and_challenge() -> None:
    """A41."""
    url = await client(Provider()).address(redirect_uri="https://x.org/b", state="st", nonce="no", challenge="ch")

    asked = {name: values[0] for name, values in parse_qs(url.partition("?")[2]).items()}
    assert (asked["state"], asked["nonce"], asked["code_challenge"]) == ("st", "no", "ch")
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")


AT = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": ["me", "other"]}, "audience"),
        ({"azp": "other"}, "audience"),
        ({"nonce": "other"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": AT - 30}, "expired"),
        ({"exp": None}, "time"),
        ({"iat": AT - 601}, "time"),
        ({"iat": AT + 31}, "time"),
        ({"nbf": AT + 31}, "time"),
        ({"sub": ""}, "subject"),
    ],
)
async def test_a_token_that_says_something_else_than_expected_does_not_count(claims: dict[str, Any], why: str) -> None:
    """A41."""
    with pytest.raises(BadToken, match=rf"^{why}$"):
        await ask(client(Provider(claims=claims)))


async def test_neither_no_signature_nor_one_with_a_public_key_as_secret_counts() -> None:
    """A41: also when the provider says that it signs so."""
    provider = Provider()
    said = provider.signed().split(".")[1]
    for alg, secret in (("none", None), ("HS256", json.dumps(provider.keys[0][1]).encode())):
        signed = f"{jws.encode(json.dumps({'alg': alg, 'kid': 'one'}).encode())}.{said}"
        # By hand: the library refuses to sign like this.
        signature = hmac.digest(secret, signed.encode(), "sha256") if secret else b""
        provider.token = f"{signed}.{jws.encode(signature)}"
        with pytest.raises(BadToken, match=r"^algorithm$"):
            await ask(client(provider))


async def test_a_token_of_another_key_with_the_same_name_does_not_count() -> None:
    """A41."""
    provider = Provider()
    provider.token = Provider().signed()
    with pytest.raises(BadToken, match=r"^signature$"):
        await ask(client(provider))


async def test_a_new_key_is_found_and_an_unknown_one_asks_once_in_ten_seconds() -> None:
    """A41, A19."""
    provider, clock = Provider(), MovableClock(NOW)
    asking = client(provider, clock)
    await ask(asking)
    provider.token = Provider(keys=[_key("unknown")]).signed()
    for _ in range(3):
        with pytest.raises(BadToken, match=r"^unknown_key$"):
            await ask(asking)
    assert provider.looks_at_keys() == 1
    clock.advance(timedelta(seconds=10))
    provider.token = ""
    provider.keys.append(_key("two"))
    assert (await ask(asking)).subject == "s"
    assert provider.looks_at_keys() == 2


async def test_a_provider_that_is_another_or_away_is_unavailable() -> None:
    """A41."""
    for provider in (Provider(issuer="https://evil.example"), Provider(broken=True)):
        with pytest.raises(ProviderUnavailable):
            await ask(client(provider))


async def test_an_answer_of_another_issuer_does_not_count() -> None:
    """A41: RFC 9207; one that names itself has to."""
    plain = client(Provider())
    await plain.check_issuer("")
    await plain.check_issuer(ISSUER)
    naming = client(Provider(metadata={"authorization_response_iss_parameter_supported": True}))
    for asking, iss in ((plain, "https://evil.example"), (naming, "")):
        with pytest.raises(BadToken, match=r"^issuer$"):
            await asking.check_issuer(iss)


async def test_github_gives_the_number_and_the_primary_verified_address() -> None:
    """A41."""
    emails = [{"email": "a@x.org", "primary": False, "verified": True}]
    provider = Provider(github=({"id": 7, "name": "Ada"}, emails))
    asking = client(provider, preset="github", issuer="")
    assert await ask(asking) == Profile(issuer="https://github.com", subject="7", email="", verified=False, name="Ada")
    emails.append({"email": "b@x.org", "primary": True, "verified": True})
    found = await ask(asking)
    assert (found.email, found.verified) == ("b@x.org", True)


async def test_microsofts_issuer_is_the_tenants_and_its_address_counts_only_where_the_domain_was_proved() -> None:
    """A41, A42."""
    several = "https://ms.example/{tenantid}/v2.0"
    of_a = several.replace("{tenantid}", TENANT_A)
    said = {"iss": of_a, "tid": TENANT_A, "email": "ada@x.org", "email_verified": True}
    provider = Provider(issuer=several, claims=said)
    asking = client(provider, preset="microsoft", tenant="common", issuer=several)
    found = await ask(asking)
    assert (found.issuer, found.verified) == (of_a, False)
    provider.claims["xms_edov"] = True
    assert (await ask(asking)).verified
    provider.claims["tid"] = "22222222-2222-2222-2222-222222222222"
    with pytest.raises(BadToken, match=r"^issuer$"):
        await ask(asking)


async def test_googles_address_counts_where_google_runs_the_mailbox() -> None:
    """A42."""
    provider = Provider(claims={"email": "ada@x.org", "email_verified": True})
    asking = client(provider, preset="google")
    assert not (await ask(asking)).verified
    provider.claims["hd"] = "x.org"
    assert (await ask(asking)).verified


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"client_id": " "}, "client_id"),
        ({"client_secret": Secret()}, "client_secret"),
        ({"preset": "gogle"}, "preset"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "id.example"}, "issuer"),
        ({"preset": "microsoft"}, "tenant"),
        ({"tenant": "common"}, "tenant"),
        ({"scopes": ("email",)}, "scopes"),
    ],
)
def test_a_provider_that_is_set_up_wrongly_is_refused_by_the_name_of_the_field(given: Any, named: str) -> None:
    """A41."""
    with pytest.raises(ValueError, match=rf"^{named} "):
        client(Provider(), **given)


def test_only_addresses_on_the_internet_are_called() -> None:
    """A41: unless the installation allows more."""
    for address in ("127.0.0.1", "10.1.1.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"):
        assert not may_be_called(address, (), secure=True)
    assert may_be_called("8.8.8.8", (), secure=True)
    assert not may_be_called("8.8.8.8", (), secure=False)


async def test_a_provider_on_this_machine_is_refused() -> None:
    """A41."""
    with pytest.raises(ProviderUnavailable):
        await OidcHttp().request("GET", "http://127.0.0.1:9/", {})
