"""API keys of the caller: ``/api/v1/auth/api-keys``."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_201_CREATED, HTTP_204_NO_CONTENT

from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_api_keys import ApiKeyList, IssuedApiKey, NewApiKey
from orion_core.web import signed_in

_NEVER_STORED = [ResponseHeader(name="Cache-Control", value="no-store", description="the secret is never cached")]


class ApiKeyRoutes(Controller):
    """Keys with which machines ask in your name. A key cannot be used here."""

    path = "/api/v1/auth/api-keys"
    tags = ("auth",)

    @get("/", opt=signed_in(), operation_id="auth_api_keys", summary="List your API keys")
    async def mine(self, auth: NamedDependency[Auth]) -> ApiKeyList:
        """Without their secrets."""
        return await auth.api_keys()

    @post(
        "/",
        opt=signed_in(),
        status_code=HTTP_201_CREATED,
        response_headers=_NEVER_STORED,
        operation_id="auth_create_api_key",
        summary="Make an API key",
    )
    async def create(self, auth: NamedDependency[Auth], data: JSONBody[NewApiKey]) -> IssuedApiKey:
        """Its secret is shown this once. A scope that you do not hold answers 422 `auth.scope_not_held`."""
        return await auth.create_api_key(data)

    @delete(
        "/{key_id:uuid}",
        opt=signed_in(),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_revoke_api_key",
        summary="Revoke an API key",
    )
    async def revoke(self, auth: NamedDependency[Auth], key_id: FromPath[UUID]) -> None:
        """It counts no more within a second."""
        await auth.revoke_api_key(key_id)
