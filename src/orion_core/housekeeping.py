"""Purging: rows of core that have served their purpose are removed in small batches, by a job of each service."""

from __future__ import annotations

from datetime import timedelta

from orion_core.jobs import JobType
from orion_core.ports.database import Database
from orion_core.queue import Work

BATCH = 1000
DAY_MS = 86_400_000
INBOX_MS = 7 * DAY_MS
"""How long a repeat of an event is recognised."""

_PURGES = (
    f"orion_inbox WHERE at_ms < {{now}} - {INBOX_MS}",
    f"orion_deliveries WHERE state = 'done' AND done_ms < {{now}} - {INBOX_MS}",
    f"orion_outbox WHERE published_ms < {{now}} - {INBOX_MS} "  # noqa: ISC004 - one rule, two lines
    "AND event_id NOT IN (SELECT event_id FROM orion_deliveries)",
    f"orion_jobs WHERE state IN ('done', 'cancelled') AND finished_ms < {{now}} - {DAY_MS}",
    f"orion_jobs WHERE state = 'dead' AND finished_ms < {{now}} - {30 * DAY_MS}",
)
_KEYS = {"orion_inbox": "id", "orion_deliveries": "id", "orion_outbox": "position", "orion_jobs": "id"}


def purging(service: str, db: Database) -> dict[str, Work]:
    """The job that purges the tables of core in the database `db` of `service`, every hour."""

    async def purge() -> None:
        for rule in _PURGES:
            table, _, condition = rule.format(now=db.dialect.now_ms).partition(" ")
            key = _KEYS[table]
            while await db.fetch(
                f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} {condition} LIMIT {BATCH}) "
                f"RETURNING {key}"
            ):
                pass

    kind = JobType("purge_core", "default", 3, 1.0, 600.0, 300.0, timedelta(hours=1))
    return {f"{service}.orion_purge": Work(kind, purge)}
