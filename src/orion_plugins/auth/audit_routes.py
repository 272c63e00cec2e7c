"""``/api/v1/auth/audit`` and ``/api/v1/auth/admin/audit``: the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_audit import AuditPage, AuditQuery
from orion_core.web import Cursor, Limit, needs, signed_in

_ACTION = QueryParameter(name="action", description="only this action, such as signed_in")
_USER = QueryParameter(name="user_id", description="only what is about this account")
_OUTCOME = QueryParameter(name="outcome", description="only success or failure")
_SINCE = QueryParameter(name="since", description="only from this time on (RFC 3339)")
_UNTIL = QueryParameter(name="until", description="only before this time (RFC 3339)")


class AuditRoutes(Controller):
    """The audit log; there is no way to change it."""

    path = "/api/v1/auth"
    tags = ("auth",)

    @get("/audit", opt=signed_in(), operation_id="auth_my_audit", summary="Read what is recorded about you")
    async def mine(self, auth: NamedDependency[Auth], cursor: Cursor = "", limit: Limit = 50) -> AuditPage:
        """Newest first: sign-ins and failures, changes of your account, and who read about you."""
        return await auth.my_audit_log(cursor, limit)

    @get("/admin/audit", opt=needs("audit:read"), operation_id="auth_audit", summary="Read the audit log")
    async def log(
        self,
        auth: NamedDependency[Auth],
        cursor: Cursor = "",
        limit: Limit = 50,
        action: Annotated[str, _ACTION] = "",
        user_id: Annotated[UUID | None, _USER] = None,
        outcome: Annotated[str, _OUTCOME] = "",
        since: Annotated[datetime | None, _SINCE] = None,
        until: Annotated[datetime | None, _UNTIL] = None,
    ) -> AuditPage:
        """Newest first. That you read it is recorded too."""
        return await auth.audit_log(AuditQuery(cursor, limit, action, user_id, outcome, since, until))
