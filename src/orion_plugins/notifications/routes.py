"""`/api/v1/notifications`: one's own notices."""

from __future__ import annotations

from litestar import Controller, get
from litestar.di import NamedDependency

from orion_core.contracts.notifications import NoticePage, Notifications
from orion_core.web import Cursor, Limit, signed_in


class NotificationRoutes(Controller):
    """Notices."""

    path = "/api/v1/notifications"
    tags = ("notifications",)

    @get("/", opt=signed_in(), operation_id="notifications_mine", summary="Read your own notices")
    async def mine(
        self, notifications: NamedDependency[Notifications], cursor: Cursor = "", limit: Limit = 50
    ) -> NoticePage:
        """Newest first. `next_cursor` is null on the last page; a cursor from elsewhere answers 400."""
        return await notifications.mine(cursor, limit)
