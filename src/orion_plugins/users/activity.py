"""The activity of people: append-only rows, and one page of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from orion_core.context import current
from orion_core.contracts.users import Activity, ActivityPage
from orion_core.events import Envelope
from orion_core.ids import new_id
from orion_core.json_value import Json
from orion_core.paging import from_time_cursor, to_time_cursor
from orion_plugins.users.redaction import metadata
from orion_plugins.users.tables import UserActivity


async def record(user_id: UUID, action: str, now: datetime, details: Mapping[str, Any] | None = None) -> None:
    """Write that the actor did `action` to the person now; in the running transaction."""
    context = current()
    await UserActivity.insert(
        UserActivity(
            id=new_id(),
            user_id=user_id,
            action=action,
            metadata=metadata(details or {}),
            timestamp=now,
            actor=context.originator[:128],
            ip_address=context.client_ip[:64],
            # PostgreSQL stores no NUL.
            user_agent=context.user_agent.replace("\x00", "")[:512],
            correlation_id=context.correlation_id[:64],
        )
    )


def person_of(envelope: Envelope) -> tuple[UUID, dict[str, Any]] | None:
    """Whom the fact in `envelope` is about, by its field `user_id`, and its other fields; None if it is nobody."""
    data = json.loads(envelope.data)
    given = data.pop("user_id", None) if isinstance(data, dict) else None
    if not isinstance(given, str):
        return None
    try:
        return UUID(given), data
    except ValueError:
        return None


async def record_fact(user_id: UUID, envelope: Envelope, details: Mapping[str, Any]) -> None:
    """Write a fact that another service told; one told twice adds nothing."""
    row = UserActivity(
        id=envelope.id,
        user_id=user_id,
        action=envelope.name[:100],
        metadata=metadata(details),
        timestamp=envelope.time,
        actor=envelope.originator[:128],
        correlation_id=envelope.correlation_id[:64],
    )
    await UserActivity.insert(row).on_conflict(target=UserActivity.id, action="DO NOTHING")


async def page(user_id: UUID, cursor: str, limit: int, action: str) -> ActivityPage:
    """The activity of the person, newest first; equal times are ordered by id."""
    query = UserActivity.objects().where(UserActivity.user_id == user_id)
    if action:
        query = query.where(UserActivity.action == action)
    if cursor:
        at, row_id = from_time_cursor(cursor)
        query = query.where(
            (UserActivity.timestamp < at) | ((UserActivity.timestamp == at) & (UserActivity.id < row_id))
        )
    # One row more tells whether there is another page.
    rows = await (
        query.order_by(UserActivity.timestamp, ascending=False)
        .order_by(UserActivity.id, ascending=False)
        .limit(limit + 1)
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return ActivityPage(
        items=tuple(_activity(row) for row in rows[:limit]),
        next_cursor=to_time_cursor(last.timestamp, last.id) if last else None,
    )


async def strip(user_id: UUID) -> None:
    """Take everything personal out of the person's activity, and out of what they did to others."""
    # Clients choose correlation ids as well as they choose agents.
    origin: dict[Any, Any] = {UserActivity.ip_address: "", UserActivity.user_agent: "", UserActivity.correlation_id: ""}
    await UserActivity.update({**origin, UserActivity.metadata: "{}"}).where(UserActivity.user_id == user_id)
    await UserActivity.update(origin).where(UserActivity.actor == f"user:{user_id}")


def _activity(row: UserActivity) -> Activity:
    return Activity(
        id=row.id,
        user_id=row.user_id,
        action=row.action,
        metadata=Json(row.metadata),
        timestamp=row.timestamp,
        actor=row.actor,
        ip_address=row.ip_address,
        user_agent=row.user_agent,
        correlation_id=row.correlation_id,
    )
