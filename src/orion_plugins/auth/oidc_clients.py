"""One provider each: where its endpoints are, which keys it signs with, and who it says somebody is."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import attrs

from orion_core.contracts.auth_oidc import ProviderUnavailable
from orion_core.jws import BadToken
from orion_core.ports.clock import Clock
from orion_plugins.auth.oidc_http import Reply
from orion_plugins.auth.oidc_settings import GOOGLE, MICROSOFT, TENANT, OidcProvider
from orion_plugins.auth.oidc_tokens import ALGORITHMS, Expected, claims, header, key_for

_FRESH = timedelta(hours=1)
_PAUSE = timedelta(seconds=10)
"""A key that is not known leads to one look at the provider's keys in so long, at most."""


class Http(Protocol):
    """What asks providers."""

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """One exchange; raises `ProviderUnavailable`."""
        ...


@attrs.frozen(kw_only=True)
class Profile:
    """Who somebody is elsewhere. `verified` says that the address is theirs for certain."""

    issuer: str
    subject: str
    email: str
    verified: bool
    name: str


@attrs.frozen(kw_only=True)
class Endpoints:
    """What a provider says of itself."""

    authorization: str
    token: str
    keys: str = ""
    algorithms: tuple[str, ...] = ()
    names_itself: bool = False
    secret_in_body: bool = False


@attrs.define(eq=False)
class OidcClient:
    """The client of one provider; what it has learned of it is kept for an hour."""

    provider: OidcProvider
    http: Http
    clock: Clock
    _endpoints: Endpoints | None = None
    _learned_at: datetime | None = None
    _keys: list[dict[str, Any]] = attrs.field(factory=list)
    _looked_at: datetime | None = None
    _turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    async def address(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where the browser asks the person."""
        endpoints = await self.endpoints()
        asked = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.provider.scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if self.provider.oidc:
            asked["nonce"] = nonce
        return f"{endpoints.authorization}{'&' if '?' in endpoints.authorization else '?'}{urlencode(asked)}"

    async def check_issuer(self, iss: str) -> None:
        """Raise `BadToken` unless the answer came from this provider, as far as it tells (RFC 9207)."""
        endpoints = await self.endpoints()
        if (iss or endpoints.names_itself) and TENANT not in self.provider.base and iss != self.provider.base:
            raise BadToken("issuer")

    async def profile(self, *, code: str, verifier: str, nonce: str, redirect_uri: str) -> Profile:
        """Who the code stands for; raises `BadToken` for what does not count."""
        endpoints = await self.endpoints()
        given = await self._token(endpoints, code, verifier, redirect_uri)
        if not self.provider.oidc:
            return await self._github(given)
        token = given.get("id_token")
        if not isinstance(token, str):
            raise BadToken("no_id_token")
        told = header(token, endpoints.algorithms)
        key = key_for(told, await self._known_keys(endpoints, again=False))
        if key is None:
            key = key_for(told, await self._known_keys(endpoints, again=True))
        if key is None:
            raise BadToken("unknown_key")
        found = claims(
            token,
            told.alg,
            key,
            Expected(issuer=self.provider.base, client_id=self.provider.client_id, nonce=nonce, now=self.clock.now()),
        )
        return Profile(
            issuer=found["iss"],
            subject=found["sub"],
            email=_text(found, "email"),
            verified=self._is_verified(found),
            name=_text(found, "name"),
        )

    async def endpoints(self) -> Endpoints:
        """Where it is asked; raises `ProviderUnavailable`."""
        async with self._turn:
            now = self.clock.now()
            if self._endpoints is None or self._learned_at is None or now - self._learned_at > _FRESH:
                try:
                    self._endpoints = await self._discover()
                except ProviderUnavailable:
                    # What it said before still is the best that anybody knows.
                    if self._endpoints is None:
                        raise
                self._learned_at = now
            return self._endpoints

    async def _discover(self) -> Endpoints:
        base = self.provider.base
        if not self.provider.oidc:
            where = f"{base.rstrip('/')}/login/oauth"
            return Endpoints(authorization=f"{where}/authorize", token=f"{where}/access_token", secret_in_body=True)
        reached = base.replace(TENANT, self.provider.tenant).rstrip("/")
        found = await self._json("GET", f"{reached}/.well-known/openid-configuration", {})
        if found.get("issuer") != base:
            raise ProviderUnavailable("the provider has another issuer than the setting auth.oidc says")
        urls = [_text(found, name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        for url in urls:
            if not url.startswith(("https://",) if base.startswith("https://") else ("https://", "http://")):
                raise ProviderUnavailable("the provider names endpoints that are not safe to ask")
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Endpoints(
            authorization=urls[0],
            token=urls[1],
            keys=urls[2],
            algorithms=tuple(each for each in ALGORITHMS if each in offered),
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
            secret_in_body="client_secret_basic" not in methods,
        )

    async def _token(self, endpoints: Endpoints, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        client_id, secret = self.provider.client_id, self.provider.client_secret.reveal()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if endpoints.secret_in_body:
            form |= {"client_id": client_id, "client_secret": secret}
        else:
            pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}".encode()
            headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return await self._json("POST", endpoints.token, headers, urlencode(form).encode())

    async def _known_keys(self, endpoints: Endpoints, *, again: bool) -> list[dict[str, Any]]:
        async with self._turn:
            now = self.clock.now()
            wait = _PAUSE if again or not self._keys else _FRESH
            if self._looked_at is None or now - self._looked_at >= wait:
                self._looked_at = now
                try:
                    listed = (await self._json("GET", endpoints.keys, {})).get("keys")
                except (ProviderUnavailable, BadToken):
                    listed = None
                # An error leaves the keys as they were.
                if isinstance(listed, list) and listed:
                    self._keys = [key for key in listed if isinstance(key, dict)]
            if not self._keys:
                raise ProviderUnavailable("the provider shows no keys: try again later")
            return self._keys

    async def _github(self, given: Mapping[str, Any]) -> Profile:
        token = given.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise BadToken("no_access_token")
        base = self.provider.base.rstrip("/")
        api = "https://api.github.com" if base == "https://github.com" else f"{base}/api/v3"
        headers = {"authorization": f"Bearer {token}", "user-agent": "orion"}
        person = await self._json("GET", f"{api}/user", headers)
        number = person.get("id")
        if isinstance(number, bool) or not isinstance(number, int):
            raise BadToken("subject")
        email = ""
        for each in await self._list(f"{api}/user/emails", headers):
            if isinstance(each, dict) and each.get("primary") is True and each.get("verified") is True:
                email = _text(each, "email")
        return Profile(issuer=base, subject=str(number), email=email, verified=bool(email), name=_text(person, "name"))

    def _is_verified(self, found: Mapping[str, Any]) -> bool:
        email = _text(found, "email").lower()
        if self.provider.preset == MICROSOFT:
            # An administrator of any tenant may write any address; this claim says that its domain was proved.
            return found.get("xms_edov") in (True, 1, "1", "true")
        if self.provider.preset == GOOGLE and not (email.endswith("@gmail.com") or _text(found, "hd")):
            # Verified once, at a mailbox that Google does not run and that may be somebody else's today.
            return False
        return found.get("email_verified") is True

    async def _json(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> dict[str, Any]:
        found = _parsed(await self.http.request(method, url, headers, body))
        if not isinstance(found, dict):
            raise ProviderUnavailable("the provider answered with something else than asked for")
        return found

    async def _list(self, url: str, headers: Mapping[str, str]) -> list[Any]:
        found = _parsed(await self.http.request("GET", url, headers))
        return found if isinstance(found, list) else []


def _parsed(reply: Reply) -> Any:
    if 400 <= reply.status < 500:
        raise BadToken("provider_refused")
    if reply.status != 200:
        raise ProviderUnavailable("the provider has troubles: try again later")
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise ProviderUnavailable("the provider answered with something else than JSON") from error


def _text(found: Mapping[str, Any], name: str) -> str:
    given = found.get(name)
    return given[:2000] if isinstance(given, str) else ""
