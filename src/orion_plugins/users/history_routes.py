"""`/api/v1/users/…/activity` and `…/access-log`: what people did, and who read about them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from orion_core.context import current
from orion_core.contracts.users import ActivityPage, ReadingPage, Users
from orion_core.web import Cursor, Limit, signed_in

Action = Annotated[str, QueryParameter(name="action", description="only this action, such as auth.session_started")]


class HistoryRoutes(Controller):
    """Activity and readings; there is no way to change either."""

    path = "/api/v1/users"
    tags = ("users",)

    @get("/me/activity", opt=signed_in(), operation_id="users_my_activity", summary="Read your own activity")
    async def mine(
        self, users: NamedDependency[Users], cursor: Cursor = "", limit: Limit = 50, action: Action = ""
    ) -> ActivityPage:
        """What you did and what happened to you, newest first."""
        return await users.activity(current().actor.user_id, cursor, limit, action)

    @get(
        "/me/access-log",
        opt=signed_in(),
        operation_id="users_my_access_log",
        summary="Read who else read about you",
    )
    async def my_readers(self, users: NamedDependency[Users], cursor: Cursor = "", limit: Limit = 50) -> ReadingPage:
        """Every reading of your personal fields by somebody else, newest first."""
        return await users.readings(current().actor.user_id, cursor, limit)

    @get(
        "/{user_id:uuid}/activity",
        opt=signed_in(),
        operation_id="users_activity",
        summary="Read somebody's activity",
    )
    async def of(
        self,
        users: NamedDependency[Users],
        user_id: FromPath[UUID],
        cursor: Cursor = "",
        limit: Limit = 50,
        action: Action = "",
    ) -> ActivityPage:
        """As your own; for others you need the permission `users:read`."""
        return await users.activity(user_id, cursor, limit, action)

    @get(
        "/{user_id:uuid}/access-log",
        opt=signed_in(),
        operation_id="users_access_log",
        summary="Read who read about somebody",
    )
    async def readers_of(
        self, users: NamedDependency[Users], user_id: FromPath[UUID], cursor: Cursor = "", limit: Limit = 50
    ) -> ReadingPage:
        """As your own; for others you need the permission `users:read`, and the log gets one more entry."""
        return await users.readings(user_id, cursor, limit)
