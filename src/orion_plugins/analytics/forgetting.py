"""What is removed: a person who is to be forgotten, and what is older than it is to be kept.

Roll-ups hold a row for each person, so what a person added to any count is known and is taken off again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from orion_core.ports.database import Database
from orion_plugins.analytics import dialect
from orion_plugins.analytics.intake import milliseconds, person_of
from orion_plugins.analytics.rollups import HOUR_MS, chunks, flat, numbers, upsert

_BATCH = 500
_COUNT_KEY = ("name", "property", "hour_ms", "value", "generation")


def mark(person: str) -> str:
    """How a forgotten person is remembered: as a hash, which says nothing about them."""
    return hashlib.sha256(person.encode()).hexdigest()


async def erased(db: Database, people: Iterable[str]) -> set[str]:
    """Those of `people` who were forgotten."""
    marks = {mark(person): person for person in people if person}
    found = set()
    for chunk in chunks([(each,) for each in sorted(marks)]):
        rows = await db.fetch(
            f"SELECT person FROM analytics_erased WHERE person IN ({numbers(len(chunk))})", *flat(chunk)
        )
        found |= {marks[row["person"]] for row in rows}
    return found


async def erase(db: Database, user_id: object, now: datetime) -> None:
    """Remove a person from raw events and roll-ups, in the running transaction, which holds no lock yet.

    With them goes the visitor they were before they signed in, unless that id was somebody else's as well.
    """
    await dialect.alone(db)
    people = [f"u:{user_id}", *await _visitors(db, user_id)]
    for person in people:
        await db.fetch(
            "INSERT INTO analytics_erased (person, at_ms) VALUES ($1, $2) ON CONFLICT (person) DO NOTHING",
            mark(person),
            milliseconds(now),
        )
        await db.fetch("DELETE FROM analytics_events WHERE person = $1", person)
        await _take_off(db, person)


async def _visitors(db: Database, user_id: object) -> list[str]:
    rows = await db.fetch(
        "SELECT DISTINCT mine.anonymous_id AS anonymous_id FROM analytics_events AS mine "
        "WHERE mine.person = $1 AND mine.anonymous_id <> '' AND NOT EXISTS (SELECT 1 FROM analytics_events AS other "
        "WHERE other.anonymous_id = mine.anonymous_id AND other.user_id <> mine.user_id)",
        f"u:{user_id}",
    )
    return sorted(person_of(None, row["anonymous_id"]) for row in rows)


async def _take_off(db: Database, person: str) -> None:
    """Subtract what `person` added to counts. Counts of nothing go: their values may tell who it was."""
    less: Counter[tuple[Any, ...]] = Counter()
    for row in await db.fetch(
        f"DELETE FROM analytics_people WHERE person = $1 RETURNING {', '.join(_COUNT_KEY)}, events", person
    ):
        less[tuple(row[column] for column in _COUNT_KEY)] -= row["events"]
    await upsert(db, "analytics_counts", _COUNT_KEY, sorted((*key, add) for key, add in less.items()))
    hours = sorted({(key[2],) for key in less})
    for chunk in chunks(hours):
        await db.fetch(
            f"DELETE FROM analytics_counts WHERE hour_ms IN ({numbers(len(chunk))}) AND events <= 0", *flat(chunk)
        )
    # Names of properties may be as telling, where nobody else used them.
    for name, key in sorted({(key[0], key[1]) for key in less if key[1]}):
        await db.fetch(
            "DELETE FROM analytics_properties WHERE name = $1 AND property = $2 AND NOT EXISTS "
            "(SELECT 1 FROM analytics_counts c WHERE c.name = $1 AND c.property = $2)",
            name,
            key,
        )


async def expire_raw(db: Database, now: datetime, days: int) -> None:
    """Remove raw events that were received more than `days` days ago. Roll-ups keep what they added."""
    before = milliseconds(now - timedelta(days=days))
    removed = _BATCH
    while removed == _BATCH:
        async with db.transaction():
            # No hour is being rolled up anew from what goes here.
            await dialect.share(db)
            # Remembered first, and with the first ones that go: from here on questions do without raw events.
            await db.fetch(
                "INSERT INTO analytics_state (key, number) VALUES ('raw_from', $1) ON CONFLICT (key) DO UPDATE "
                "SET number = CASE WHEN EXCLUDED.number > analytics_state.number "
                "THEN EXCLUDED.number ELSE analytics_state.number END",
                before,
            )
            gone = await db.fetch(
                f"DELETE FROM analytics_events WHERE id IN (SELECT id FROM analytics_events WHERE received_ms < $1 "
                f"LIMIT {_BATCH}) RETURNING id",
                before,
            )
            removed = len(gone)


async def expire_rollups(db: Database, now: datetime, days: int) -> None:
    """Remove the counts of hours, and of requests, that lie more than `days` days back.

    An hour keeps its counts as long as one of its raw events: a late one is younger than its hour.
    """
    before = milliseconds(now - timedelta(days=days)) // HOUR_MS * HOUR_MS
    without_raw = (
        "hour_ms < $1 AND NOT EXISTS (SELECT 1 FROM analytics_events AS e "
        f"WHERE e.counted AND e.at_ms >= r.hour_ms AND e.at_ms < r.hour_ms + {HOUR_MS})"
    )
    for table, old in (
        ("analytics_people", without_raw),
        ("analytics_counts", without_raw),
        ("analytics_requests", "quarter_ms < $1"),
    ):
        removed = _BATCH
        while removed == _BATCH:
            async with db.transaction():
                # Nobody adds an event to an hour between the look for its events and its end.
                await dialect.alone(db)
                gone = await db.fetch(
                    f"DELETE FROM {table} WHERE id IN (SELECT r.id FROM {table} AS r WHERE {old} LIMIT {_BATCH}) "
                    "RETURNING id",
                    before,
                )
            removed = len(gone)
