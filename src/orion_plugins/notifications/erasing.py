"""Erasing a person from notifications, all in the transaction of the caller."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from orion_plugins.notifications.tables import (
    Notification,
    NotificationDelivery,
    NotificationHistory,
    NotificationTombstone,
)


async def erase(user_id: UUID, now: datetime) -> None:
    """Remove the person's notices, deliveries and their history, and remember never to make any again.

    A job that is about to send finds no delivery and ends.
    """
    await NotificationTombstone.insert(NotificationTombstone(user_id=user_id, erased_at=now)).on_conflict(
        target=NotificationTombstone.user_id, action="DO NOTHING"
    )
    for table in (NotificationHistory, NotificationDelivery, Notification):
        await table.delete().where(table.user_id == user_id)


async def is_erased(user_id: UUID) -> bool:
    """Whether the person was erased: late news of them lead to nothing."""
    return await NotificationTombstone.exists().where(NotificationTombstone.user_id == user_id)
