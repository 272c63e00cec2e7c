"""Looking into the databases of a running platform: has everything settled, what was told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from orion_core import codec
from orion_core.events import event_type
from orion_core.ports.database import Database

T = TypeVar("T")
SOON_MS = 500
"""What is due within this time counts as unsettled: tests use retry delays far below it."""
PATIENCE = 20.0
"""Seconds after which something that does not settle is a failure."""


class NotSettled(AssertionError):
    """Work was still left after the longest time a test waits."""


async def open_work(db: Database, offset_ms: int = 0) -> int:
    """How many outbox rows, deliveries and jobs of one database still wait or run."""
    now = f"{db.dialect.now_ms} + {SOON_MS}"
    rows = await db.fetch(
        "SELECT (SELECT COUNT(*) FROM orion_outbox WHERE published_ms IS NULL) "
        f"+ (SELECT COUNT(*) FROM orion_deliveries WHERE state = 'ready' AND due_ms <= {now}) "
        "+ (SELECT COUNT(*) FROM orion_jobs WHERE state = 'active' OR (state IN ('ready', 'delayed') "
        f"AND due_ms <= {now} + {offset_ms})) AS waiting"
    )
    return int(rows[0]["waiting"])


async def told(databases: Mapping[str, Database], cls: type[T]) -> list[T]:
    """All events of the class `cls` that were published, oldest first; without those of people who were erased."""
    kind = event_type(cls)
    found = []
    for db in databases.values():
        rows = await db.fetch(
            "SELECT data FROM orion_outbox WHERE name = $1 AND version = $2 AND data <> '' ORDER BY position",
            kind.name,
            kind.version,
        )
        found += [codec.loads(row["data"], cls) for row in rows]
    return found


async def until(done: Callable[[], Awaitable[bool]], what: str, patience: float = PATIENCE) -> None:
    """Ask `done` again and again; raises `NotSettled` after `patience` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    pause = 0.001
    while not await done():
        if loop.time() > end:
            raise NotSettled(f"{what} did not happen within {patience} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.05)


async def rows(db: Database, sql: str, *args: Any) -> list[dict[str, Any]]:
    """Rows of any table of a service, for assertions about what is stored."""
    return await db.fetch(sql, *args)
