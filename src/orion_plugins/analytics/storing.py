"""Raw events in their table: stored together with their roll-ups, read page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from orion_core.ports.database import Database
from orion_plugins.analytics import forgetting
from orion_plugins.analytics.intake import Event
from orion_plugins.analytics.rollups import Counted, Increments, enter, generations, insert_new


async def store(db: Database, events: Sequence[Event]) -> list[str]:
    """Store `events` and add them to the roll-ups, in the running transaction, which holds no lock yet.

    Says of each whether it is ``accepted``, a ``duplicate``, or of somebody ``erased``.
    """
    if not events:
        return []
    known = await enter(db, events)
    gone = await forgetting.erased(db, {event.person for event in events})
    first: dict[tuple[str, str], Event] = {}
    for event in events:
        if event.person not in gone:
            first.setdefault((event.origin, event.message_id), event)
    stored = await insert_new(db, list(first.values()))
    added = Increments()
    for event in stored:
        if event.counted:
            added.add(Counted(event.name, event.at_ms, event.person, event.dims), known[event.name])
    await added.write(db, await generations(db, added.hours))
    new = {event.id for event in stored}
    return ["erased" if event.person in gone else "accepted" if event.id in new else "duplicate" for event in events]


async def tally(db: Database, source: str, outcomes: Mapping[tuple[str, str], int], now_ms: int) -> None:
    """Count how events of `source` ended, in the running transaction."""
    for (status, code), count in sorted(outcomes.items()):
        await db.fetch(
            "INSERT INTO analytics_sources (source, status, code, events, last_ms) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT (source, status, code) DO UPDATE SET events = analytics_sources.events + EXCLUDED.events, "
            "last_ms = EXCLUDED.last_ms",
            source,
            status,
            code,
            count,
            now_ms,
        )


async def sources(db: Database) -> list[dict[str, Any]]:
    """How many events of each source came to what end."""
    return await db.fetch(
        "SELECT source, status, code, events, last_ms FROM analytics_sources ORDER BY source, status, code LIMIT 1000"
    )


async def page(
    db: Database, name: str, lo_ms: int, hi_ms: int, at_ms: int, after: UUID, limit: int
) -> list[dict[str, Any]]:
    """Raw events from `lo_ms` to before `hi_ms`, after the one of `at_ms` with the id `after`, oldest first."""
    named = "AND name = $6 " if name else ""
    return await db.fetch(
        "SELECT id, name, type, message_id, user_id, anonymous_id, at_ms, received_ms, source, counted, properties, "
        "context FROM analytics_events WHERE at_ms >= $1 AND at_ms < $2 AND (at_ms > $3 OR id > $4) "
        f"{named}ORDER BY at_ms, id LIMIT $5",
        lo_ms,
        hi_ms,
        at_ms,
        after,
        limit,
        *([name] if name else []),
    )
