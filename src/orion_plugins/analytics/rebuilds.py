"""Roll-ups made anew from raw events, beside questions and intake, and put in place all at once.

Every hour of the range gets another generation. From the beginning on events are added to both; then one hour after the
other is computed, each in a transaction of its own; at the end one statement makes the new generation the current one.
A rebuild that was broken off goes on where it stopped. Hours whose raw events are not all kept any more when their turn
comes stay as they are.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from orion_core.ports.database import Database
from orion_plugins.analytics import dialect
from orion_plugins.analytics.questions import raw_from
from orion_plugins.analytics.rollups import HOUR_MS, Counted, Increments, rolled

_PAGE = 2000
_SWEEP = 1000


async def begin(db: Database, rebuild_id: UUID) -> None:
    """Mark the hours of a rebuild, so that events from now on are added to both generations."""
    async with db.transaction():
        await dialect.alone(db)
        row = await _row(db, rebuild_id)
        if row is None or row["state"] != "waiting":
            return
        start, end = row["start_ms"], row["end_ms"]
        # Hours whose roll-ups are lost as a whole are found by their events.
        await db.fetch(
            f"INSERT INTO analytics_hours (hour_ms, generation) SELECT DISTINCT at_ms - at_ms % {HOUR_MS}, 0 "
            "FROM analytics_events WHERE counted AND at_ms >= $1 AND at_ms < $2 ON CONFLICT (hour_ms) DO NOTHING",
            start,
            end,
        )
        marked = await db.fetch(
            "UPDATE analytics_hours SET building = $1, built = $2 WHERE hour_ms >= $3 AND hour_ms < $4 "
            "RETURNING hour_ms",
            row["position"],
            False,
            start,
            end,
        )
        await db.fetch(
            "UPDATE analytics_rebuilds SET state = 'running', hours = $1 WHERE rebuild_id = $2", len(marked), rebuild_id
        )


async def step(db: Database, rebuild_id: UUID) -> bool:
    """Compute one hour, or put all in place when there is none left; returns whether there is more to do."""
    async with db.transaction():
        await dialect.alone(db)
        row = await _row(db, rebuild_id)
        if row is None or row["state"] != "running":
            return False
        generation = row["position"]
        waiting = await db.fetch(
            "SELECT hour_ms FROM analytics_hours WHERE building = $1 AND NOT built ORDER BY hour_ms LIMIT 1", generation
        )
        if waiting:
            hour = waiting[0]["hour_ms"]
            if hour < await raw_from(db):
                await db.fetch("UPDATE analytics_hours SET building = NULL WHERE hour_ms = $1", hour)
            else:
                await _compute(db, hour, generation)
            return True
        # A later rebuild may have taken over some of the hours: those are not ours any more.
        await db.fetch(
            "UPDATE analytics_hours SET generation = building, building = NULL, built = $1 WHERE building = $2",
            False,
            generation,
        )
        await db.fetch("UPDATE analytics_rebuilds SET state = 'done' WHERE rebuild_id = $1", rebuild_id)
    return False


async def sweep(db: Database) -> None:
    """Remove generations that are neither current nor being made, in small batches."""
    # Hour by hour, so that no batch looks through all that stays to find what goes.
    for found in await db.fetch("SELECT hour_ms FROM analytics_hours ORDER BY hour_ms"):
        for table in ("analytics_counts", "analytics_people"):
            removed = _SWEEP
            while removed == _SWEEP:
                gone = await db.fetch(
                    f"DELETE FROM {table} WHERE id IN (SELECT r.id FROM {table} AS r "
                    "JOIN analytics_hours AS h ON h.hour_ms = r.hour_ms WHERE r.hour_ms = $1 "
                    "AND r.generation <> h.generation AND (h.building IS NULL OR r.generation <> h.building) "
                    f"LIMIT {_SWEEP}) RETURNING id",
                    found["hour_ms"],
                )
                removed = len(gone)


async def progress(db: Database, rebuild_id: UUID) -> dict[str, Any] | None:
    """The row of a rebuild, with how many hours are `done`; None if there is none."""
    row = await _row(db, rebuild_id)
    if row is None:
        return None
    left = await db.fetch(
        "SELECT COUNT(*) AS n FROM analytics_hours WHERE building = $1 AND NOT built", row["position"]
    )
    return {**row, "done": 0 if row["state"] == "waiting" else row["hours"] - int(left[0]["n"])}


async def _row(db: Database, rebuild_id: UUID) -> dict[str, Any] | None:
    rows = await db.fetch("SELECT * FROM analytics_rebuilds WHERE rebuild_id = $1", rebuild_id)
    return rows[0] if rows else None


async def _compute(db: Database, hour: int, generation: int) -> None:
    for table in ("analytics_counts", "analytics_people"):
        await db.fetch(f"DELETE FROM {table} WHERE hour_ms = $1 AND generation = $2", hour, generation)
    at, last = hour, UUID(int=0)
    while True:
        # Piece by piece: memory stays the same, however much happened in the hour.
        page = await db.fetch(
            "SELECT at_ms, id, name, person, dims FROM analytics_events WHERE counted "
            f"AND at_ms >= $1 AND at_ms < $2 AND (at_ms > $1 OR id > $3) ORDER BY at_ms, id LIMIT {_PAGE}",
            at,
            hour + HOUR_MS,
            last,
        )
        known = await rolled(db, {row["name"] for row in page})
        added = Increments()
        for row in page:
            counted = Counted(row["name"], row["at_ms"], row["person"], json.loads(row["dims"]))
            added.add(counted, known[counted.name])
        await added.write(db, {hour: [generation]})
        if len(page) < _PAGE:
            break
        at, last = page[-1]["at_ms"], page[-1]["id"]
    await db.fetch("UPDATE analytics_hours SET built = $1 WHERE hour_ms = $2 AND building = $3", True, hour, generation)
