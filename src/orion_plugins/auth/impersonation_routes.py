"""``/api/v1/auth/admin/…``: acting as somebody else."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, delete, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_201_CREATED, HTTP_204_NO_CONTENT

from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_impersonation import Impersonate, Impersonation
from orion_core.web import needs


class ImpersonationRoutes(Controller):
    """For support: seeing what somebody sees, with their knowledge and on the record."""

    path = "/api/v1/auth/admin"
    tags = ("auth",)

    @post(
        "/users/{user_id:uuid}/impersonate",
        opt=needs("accounts:impersonate"),
        status_code=HTTP_201_CREATED,
        response_headers=[ResponseHeader(name="Cache-Control", value="no-store", description="tokens are not cached")],
        operation_id="auth_impersonate",
        summary="Act as somebody else",
    )
    async def begin(
        self, auth: NamedDependency[Auth], user_id: FromPath[UUID], data: JSONBody[Impersonate]
    ) -> Impersonation:
        """For an hour at most, without a refresh token, and never as an administrator. A reason is required."""
        return await auth.impersonate(user_id, data)

    @delete(
        "/impersonations/{session_id:uuid}",
        opt=needs("accounts:impersonate"),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_end_impersonation",
        summary="Stop somebody acting as somebody else",
    )
    async def end(self, auth: NamedDependency[Auth], session_id: FromPath[UUID]) -> None:
        """Its token counts no more. Signing out with that token does the same."""
        await auth.end_impersonation(session_id)
