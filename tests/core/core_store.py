"""Databases with core's tables, and a service small enough to see through, for the tests of outbox, inbox and jobs."""

from __future__ import annotations

import abc
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.contract import Contract
from orion_core.events import Envelope, event
from orion_core.migrate import CORE, up
from orion_core.outbox import Outbox
from orion_core.ports.bus import Disconnected, Published
from orion_core.ports.check import Check
from orion_core.ports.database import Database
from orion_core.testing.clock import MovableClock
from orion_core.testing.databases import postgres_database

Opens = Callable[[], AbstractAsyncContextManager[Database]]
_template: list[Path] = []


@asynccontextmanager
async def sqlite_store() -> AsyncIterator[Database]:
    """An SQLite file with core's tables."""
    if not _template:
        made = Path(tempfile.mkdtemp(prefix="orion-core-")) / "core.db"
        db = await SqliteDatabase.open(made)
        await up(db, [CORE])
        await db.aclose()
        _template.append(made)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "service.db"
        shutil.copy(_template[0], file)
        db = await SqliteDatabase.open(file, synchronous="NORMAL")
        try:
            yield db
        finally:
            await db.aclose()


@asynccontextmanager
async def postgres_store() -> AsyncIterator[Database]:
    """A PostgreSQL schema with core's tables."""
    from orion_core.adapters.postgres import PostgresDatabase

    async with postgres_database() as url:
        db = await PostgresDatabase.open(f"{url}?schema=shop")
        _urls[id(db)] = f"{url}?schema=shop"
        try:
            await up(db, [CORE])
            yield db
        finally:
            del _urls[id(db)]
            await db.aclose()


_urls: dict[int, str] = {}


def location(db: Database) -> str:
    """Where another process finds `db`; see `reopened`."""
    return str(db.path) if isinstance(db, SqliteDatabase) else _urls[id(db)]


@asynccontextmanager
async def reopened(where: str) -> AsyncIterator[Database]:
    """The database at `where`, in another process."""
    db: Database
    if "://" in where:
        from orion_core.adapters.postgres import PostgresDatabase

        db = await PostgresDatabase.open(where)
    else:
        db = await SqliteDatabase.open(where)
    try:
        yield db
    finally:
        await db.aclose()


both = pytest.mark.parametrize("store", [sqlite_store, postgres_store], ids=["sqlite", "postgresql"])


@event("order.placed", subject="order")
class OrderPlaced:
    """Something was bought."""

    order: str
    total: int = 0


@event("order.noted")
class OrderNoted:
    """A fact without an aggregate."""

    note: str = ""


@event("order.wanted", subject="order", heard=True)
class OrderWanted:
    """Somebody must listen to this."""

    order: str


class Shop(Contract, name="shop"):
    """Owns the events above."""

    @abc.abstractmethod
    async def place(self, order: str) -> None:
        """Never called here."""


def outbox_of(db: Database, clock: MovableClock | None = None) -> Outbox:
    """The outbox of the service `shop`."""
    return Outbox("shop", Shop, db, clock or MovableClock())


async def make_table(db: Database) -> None:
    """A table ``effects`` for what listeners and jobs do."""
    await db.fetch("CREATE TABLE effects (what TEXT NOT NULL)")


async def effects(db: Database) -> list[str]:
    """What was done, in no order."""
    return sorted(row["what"] for row in await db.fetch("SELECT what FROM effects"))


async def did(db: Database, what: str) -> None:
    """Remember `what` in ``effects``."""
    await db.fetch("INSERT INTO effects (what) VALUES ($1)", what)


@attrs.define
class Broker:
    """The side of a bus that a relay sees: it keeps what it is given and answers as it is told."""

    answers: Callable[[Sequence[Envelope]], Sequence[Published]] = lambda envelopes: (
        [Published.CONFIRMED] * len(envelopes)
    )
    away: bool = False
    taken: list[Envelope] = attrs.field(factory=list)
    asked: int = 0

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Published]:
        if self.away:
            raise Disconnected("away")
        if not envelopes:
            return []
        self.asked += 1
        outcomes = self.answers(envelopes)
        self.taken += [
            item for item, outcome in zip(envelopes, outcomes, strict=True) if outcome is Published.CONFIRMED
        ]
        return outcomes

    async def check(self) -> Check:
        # Whatever it says must not stop the relay.
        return Check("warn", "one of its queues cannot be used")

    async def declare(self, *_: Any) -> None:
        raise AssertionError("a relay declares nothing")

    async def subscribe(self, *_: Any) -> Any:
        raise AssertionError("a relay listens to nothing")

    async def aclose(self) -> None:
        """Nothing to close."""
