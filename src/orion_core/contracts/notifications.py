"""Notices to people: in the application, and by mail."""

from __future__ import annotations

import abc
from datetime import datetime
from uuid import UUID

from orion_core.contract import Contract, repeatable
from orion_core.events import event
from orion_core.values import value


@value
class Notice:
    """One notice to one person in the application. `type` is a dotted name such as ``user.welcome``."""

    id: UUID
    type: str
    title: str
    body: str
    created_at: datetime
    read_at: datetime | None


@value
class NoticePage:
    """Notices, newest first; `next_cursor` is None on the last page."""

    items: tuple[Notice, ...]
    next_cursor: str | None


@event("notification.sent", version=1, subject="notification_id")
class NotificationSent:
    """A message left by a channel such as ``email``."""

    notification_id: UUID
    user_id: UUID
    type: str
    channel: str


class Notifications(Contract, name="notifications"):
    """Notices to people: in the application, and by mail."""

    @repeatable
    @abc.abstractmethod
    async def mine(self, cursor: str, limit: int) -> NoticePage:
        """The caller's notices, newest first: `limit` (1 to 200) of them after `cursor`, which is empty at first.

        Raises `Malformed` for a cursor that is not from a page of the same list.
        """
