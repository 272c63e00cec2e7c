"""Who read whose personal fields: written before an answer leaves, or none leaves (U33, U34)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from orion_core.context import current
from orion_core.contracts.users import AccessLogUnavailable, Reading, ReadingPage
from orion_core.ids import new_id
from orion_core.paging import from_cursor, to_cursor
from orion_plugins.users.tables import UserAccessLog
from orion_plugins.users.visibility import is_own

log = logging.getLogger("orion.users")

PROFILE = ("email", "name", "first_name", "last_name", "bio", "avatar_url", "locale", "time_zone")
"""The personal fields of a profile."""


async def record(subjects: Sequence[UUID], fields: Sequence[str], purpose: str, now: datetime) -> None:
    """Record that the actor reads `fields` of the people `subjects`, in one statement; their own are left out.

    Raises `AccessLogUnavailable`: what cannot be recorded must not be shown.
    """
    actor = current().actor
    # Whoever acts as a person sees what is not theirs.
    others = [user_id for user_id in subjects if actor.impersonator or not is_own(actor, user_id)]
    reader = f"user:{actor.impersonator}" if actor.impersonator else actor.name
    if not others:
        return
    try:
        await insert(reader, others, fields, purpose, now)
    except Exception as error:
        log.exception("%s could not be recorded in the access log", purpose)
        raise AccessLogUnavailable("the reading cannot be recorded, so nothing is shown: try again") from error


async def insert(actor: str, subjects: Sequence[UUID], fields: Sequence[str], purpose: str, read_at: datetime) -> None:
    """Write one row for each of `subjects`, at least one, about what `actor` read."""
    await UserAccessLog.insert(
        *(
            UserAccessLog(
                id=new_id(),
                subject_id=user_id,
                actor=actor[:128],
                fields=json.dumps(fields),
                purpose=purpose[:100],
                correlation_id=current().correlation_id[:64],
                at=read_at,
            )
            for user_id in subjects
        )
    )


async def page(user_id: UUID, cursor: str, limit: int) -> ReadingPage:
    """Who else read about the person, newest first."""
    query = UserAccessLog.objects().where(UserAccessLog.subject_id == user_id)
    if cursor:
        query = query.where(UserAccessLog.id < from_cursor(cursor))
    # Ids are UUIDv7: their order is that of time. One row more tells whether there is another page.
    rows = await query.order_by(UserAccessLog.id, ascending=False).limit(limit + 1)
    return ReadingPage(
        items=tuple(
            Reading(row.id, row.actor, tuple(json.loads(row.fields)), row.purpose, row.correlation_id, row.at)
            for row in rows[:limit]
        ),
        next_cursor=to_cursor(rows[limit - 1].id) if len(rows) > limit else None,
    )
