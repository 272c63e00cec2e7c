"""The public HTTP API of auth: ``/api/v1/auth`` and the key set at ``/.well-known/jwks.json``."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

import attrs
from litestar import Controller, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody
from litestar.status_codes import (
    HTTP_200_OK,
    HTTP_201_CREATED,
    HTTP_202_ACCEPTED,
    HTTP_204_NO_CONTENT,
    HTTP_304_NOT_MODIFIED,
)

from orion_core.codec import to_plain
from orion_core.contracts.auth import Auth, Login, Me, Register, Tokens
from orion_core.contracts.auth_accounts import Pending
from orion_core.contracts.auth_factors import MfaChallenge
from orion_core.validators import max_len
from orion_core.values import invalid, value
from orion_core.web import cookies, public, signed_in
from orion_plugins.auth.cookies import HEADER, CookieTokens, KeptToken, Mode, answer, client_of, forget

_MAX_TOKEN = 512
_NEVER_STORED = [ResponseHeader(name="Cache-Control", value="no-store", description="tokens are never cached")]
_KEYS_LIVE = "public, max-age=300"


@value
class Refresh:
    """The refresh token to spend."""

    refresh_token: str = attrs.field(validator=max_len(_MAX_TOKEN), repr=False)


@value
class Leave:
    """The refresh token whose session ends; without one the session of the access token ends."""

    refresh_token: str = attrs.field(default="", validator=max_len(_MAX_TOKEN), repr=False)


class AuthRoutes(Controller):
    """Opening accounts and sessions."""

    path = "/api/v1/auth"
    tags = ("auth",)

    @post(
        "/register",
        opt=public(),
        status_code=HTTP_201_CREATED,
        response_headers=_NEVER_STORED,
        operation_id="auth_register",
        summary="Open an account",
        responses={HTTP_202_ACCEPTED: ResponseSpec(Pending, description="The address is to be verified first")},
    )
    async def register(
        self, auth: NamedDependency[Auth], data: JSONBody[Register], mode: Mode = ""
    ) -> Response[Tokens | CookieTokens | Pending]:
        """Signs in at once; a taken address answers 409 `auth.email_taken`.

        With the setting `auth.registration=verified` every address answers 202, and the account opens by mail.
        """
        client = client_of(mode)
        done = await auth.request_account(data, client)
        if done.pending is not None:
            return Response(done.pending, status_code=HTTP_202_ACCEPTED)
        assert done.tokens is not None
        return answer(done.tokens, client, HTTP_201_CREATED)

    @post(
        "/login",
        opt=public(),
        status_code=HTTP_200_OK,
        response_headers=_NEVER_STORED,
        operation_id="auth_login",
        summary="Sign in",
        responses={HTTP_202_ACCEPTED: ResponseSpec(MfaChallenge, description="A second factor is asked for")},
    )
    async def login(
        self, auth: NamedDependency[Auth], data: JSONBody[Login], mode: Mode = ""
    ) -> Response[Tokens | CookieTokens | MfaChallenge]:
        """Every refusal is the same 401 `auth.invalid_credentials`.

        Who has a second factor gets 202 and a token for `POST /mfa/verify`.
        """
        client = client_of(mode)
        done = await auth.sign_in(data, client)
        if done.challenge is not None:
            return Response(done.challenge, status_code=HTTP_202_ACCEPTED)
        assert done.tokens is not None
        return answer(done.tokens, client, HTTP_200_OK)

    @post(
        "/refresh",
        opt=public() | cookies(),
        status_code=HTTP_200_OK,
        response_headers=_NEVER_STORED,
        operation_id="auth_refresh",
        summary="Spend a refresh token for a new pair",
    )
    async def refresh(
        self,
        auth: NamedDependency[Auth],
        data: JSONBody[Refresh | None] = None,
        mode: Mode = "",
        kept: KeptToken = "",
    ) -> Response[Tokens | CookieTokens]:
        """A retry a moment later gets the same pair; later it ends the session.

        In cookie mode the token is that of the cookie, and no body is needed. A token that does not count answers 400
        `auth.invalid_grant`.
        """
        client = client_of(mode)
        if client == "cookie":
            token = kept
        elif data is not None:
            token = data.refresh_token
        else:
            raise invalid("refresh_token", "required", f"must be given in the body, or in the cookie with {HEADER}")
        return answer(await auth.refresh(token, client), client, HTTP_200_OK)

    @post(
        "/logout",
        opt=public() | cookies(),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_logout",
        summary="Sign out",
    )
    async def logout(
        self,
        auth: NamedDependency[Auth],
        data: JSONBody[Leave | None] = None,
        mode: Mode = "",
        kept: KeptToken = "",
    ) -> Response[None]:
        """Ends the session of the access token, and that of the refresh token in the body if there is one.

        In cookie mode it is that of the cookie, which is removed.
        """
        if client_of(mode) == "cookie":
            await auth.logout(kept)
            return Response(None, cookies=[forget()])
        await auth.logout(data.refresh_token if data else "")
        return Response(None)

    @get("/me", opt=signed_in(), operation_id="auth_me", summary="Read your own account")
    async def me(self, auth: NamedDependency[Auth]) -> Me:
        """With your roles and permissions."""
        return await auth.me()


class KeyRoutes(Controller):
    """The keys that verify access tokens (RFC 7517)."""

    path = "/.well-known"
    tags = ("auth",)

    @get(
        "/jwks.json",
        opt=public(),
        media_type="application/jwk-set+json",
        operation_id="auth_keys",
        summary="Read the public keys",
    )
    async def keys(
        self,
        auth: NamedDependency[Auth],
        known: Annotated[str, HeaderParameter(name="If-None-Match", description="the ETag of a copy one has")] = "",
    ) -> Response[bytes]:
        """They verify access tokens and may be kept for five minutes."""
        found = [to_plain(key) for key in await auth.keys()]
        body = json.dumps({"keys": found}, separators=(",", ":")).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": _KEYS_LIVE}
        if known.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return Response(b"", headers=headers, status_code=HTTP_304_NOT_MODIFIED)
        return Response(body, headers=headers)
