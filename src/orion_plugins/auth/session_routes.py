"""``/api/v1/auth/sessions`` and ``/api/v1/auth/admin/users/{id}/sessions``: seeing and ending sessions."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_204_NO_CONTENT

from orion_core.context import current
from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_sessions import MANAGE_SESSIONS, SessionPage
from orion_core.web import Cursor, Limit, needs, signed_in


class SessionRoutes(Controller):
    """Your own sessions."""

    path = "/api/v1/auth/sessions"
    tags = ("auth",)

    @get("/", opt=signed_in(), operation_id="auth_sessions", summary="List your sessions")
    async def mine(self, auth: NamedDependency[Auth], cursor: Cursor = "", limit: Limit = 50) -> SessionPage:
        """Those that go on, the latest sign-in first; `current` marks the one that asks."""
        return await auth.sessions_of(current().actor.user_id, cursor, limit)

    @delete(
        "/{session_id:uuid}",
        opt=signed_in(),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_end_session",
        summary="End one of your sessions",
    )
    async def end(self, auth: NamedDependency[Auth], session_id: FromPath[UUID]) -> None:
        """At once and everywhere. One that is not yours answers 404 `auth.no_such_session`."""
        await auth.end_session(current().actor.user_id, session_id)

    @post(
        "/revoke-others",
        opt=signed_in(),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_end_other_sessions",
        summary="End all your sessions but this one",
    )
    async def end_others(self, auth: NamedDependency[Auth]) -> None:
        """For somebody who sees a session that is not theirs."""
        await auth.end_sessions(current().actor.user_id, keep_current=True)

    @delete(
        "/",
        opt=signed_in(),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_end_sessions",
        summary="End all your sessions",
    )
    async def end_all(self, auth: NamedDependency[Auth]) -> None:
        """This one too."""
        await auth.end_sessions(current().actor.user_id, keep_current=False)


class AdminSessionRoutes(Controller):
    """The sessions of others, for administrators."""

    path = "/api/v1/auth/admin/users/{user_id:uuid}/sessions"
    tags = ("auth",)

    @get("/", opt=needs(MANAGE_SESSIONS), operation_id="auth_sessions_of", summary="List somebody's sessions")
    async def of(
        self, auth: NamedDependency[Auth], user_id: FromPath[UUID], cursor: Cursor = "", limit: Limit = 50
    ) -> SessionPage:
        """As their own list shows them; the reading is audited."""
        return await auth.sessions_of(user_id, cursor, limit)

    @delete(
        "/{session_id:uuid}",
        opt=needs(MANAGE_SESSIONS),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_end_session_of",
        summary="End one of somebody's sessions",
    )
    async def end(self, auth: NamedDependency[Auth], user_id: FromPath[UUID], session_id: FromPath[UUID]) -> None:
        """At once and everywhere."""
        await auth.end_session(user_id, session_id)

    @delete(
        "/",
        opt=needs(MANAGE_SESSIONS),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_end_sessions_of",
        summary="End all of somebody's sessions",
    )
    async def end_all(self, auth: NamedDependency[Auth], user_id: FromPath[UUID]) -> None:
        """At once and everywhere; the account stays open."""
        await auth.end_sessions(user_id, keep_current=False)
