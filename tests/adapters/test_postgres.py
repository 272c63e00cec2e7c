"""The database on PostgreSQL keeps the promises of its port, and recovers from every outage by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from orion_core.adapters.postgres import PostgresDatabase
from orion_core.ports.database import Database, DatabaseUnavailable
from orion_core.testing.databases import postgres_database
from orion_core.testing.faults import FaultProxy, through
from orion_core.testing.suites.database import DatabaseSuite, a_table

SECONDS = 30.0


@asynccontextmanager
async def behind_a_proxy(query: str = "") -> AsyncIterator[tuple[PostgresDatabase, FaultProxy]]:
    """A fresh database, reached through a proxy that can fail."""
    async with postgres_database() as url:
        server = urlsplit(url)
        async with FaultProxy(server.hostname or "", server.port or 5432) as proxy:
            db = await PostgresDatabase.open(through(url, proxy) + query)
            try:
                yield db, proxy
            finally:
                await db.aclose()


async def eventually(db: PostgresDatabase, statement: str) -> None:
    """Repeat `statement` until the database is available again, bounded."""
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                await db.fetch(statement)
                return
            await asyncio.sleep(0.01)


class TestPostgres(DatabaseSuite):
    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        async with behind_a_proxy("?pool=5") as (db, self.proxy):
            yield db

    @asynccontextmanager
    async def outage(self, db: Database) -> AsyncIterator[None]:
        await self.proxy.refuse()
        try:
            yield
        finally:
            await self.proxy.heal()


class TestPostgresSchema(DatabaseSuite):
    """The same in a schema of a database that others use too."""

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        async with behind_a_proxy("?schema=users") as (db, self.proxy):
            other = await PostgresDatabase.open(self.other_url(db))
            async with db.migrating(), other.migrating():
                await a_table(other)
            await other.aclose()
            yield db

    def other_url(self, db: PostgresDatabase) -> str:
        return str(db.engine.config["dsn"]) + "?schema=auth"  # type: ignore[attr-defined]  # the adapter's own engine

    @asynccontextmanager
    async def outage(self, db: Database) -> AsyncIterator[None]:
        await self.proxy.refuse()
        try:
            yield
        finally:
            await self.proxy.heal()


@pytest.mark.parametrize("fault", ["refuse", "stall"])
async def test_every_operation_fails_soon_during_an_outage_and_works_after_it(fault: str) -> None:
    async with behind_a_proxy("?pool=4&command_timeout=0.3") as (db, proxy):
        await a_table(db)
        statement = "INSERT INTO thing (uid, document) VALUES (gen_random_uuid(), '{}')"
        await asyncio.gather(*(db.fetch(statement) for _ in range(8)))
        await getattr(proxy, fault)()
        async with asyncio.timeout(SECONDS):
            outcomes = await asyncio.gather(*(db.fetch(statement) for _ in range(30)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
            with pytest.raises(DatabaseUnavailable):
                async with db.transaction():
                    pass
            assert (await db.check()).status == "fail"
        await proxy.heal()
        await eventually(db, statement)
        assert (await db.check()).status == "pass"
        assert len(await asyncio.gather(*(db.fetch(statement) for _ in range(30)))) == 30


@pytest.mark.parametrize("fault", ["refuse", "stall", "cut"])
async def test_an_outage_inside_a_transaction_leaves_nothing_behind(fault: str) -> None:
    async with behind_a_proxy("?pool=1&command_timeout=0.3") as (db, proxy):
        await a_table(db)
        statement = "INSERT INTO thing (uid, document) VALUES (gen_random_uuid(), '{}')"

        async def interrupted() -> None:
            async with db.transaction():
                await db.fetch(statement)
                await getattr(proxy, fault)()
                await db.fetch(statement)

        async with asyncio.timeout(SECONDS):
            with pytest.raises(DatabaseUnavailable):
                await interrupted()
        await proxy.heal()
        await eventually(db, statement)
        assert await db.fetch("SELECT count(*) AS things FROM thing") == [{"things": 1}]


async def test_a_commit_that_is_not_answered_is_unavailable_and_calls_nobody() -> None:
    async with behind_a_proxy("?command_timeout=0.3") as (db, proxy):
        await a_table(db)
        calls: list[str] = []

        async def unanswered() -> None:
            async with db.transaction() as transaction:
                transaction.after_commit(lambda: calls.append("committed"))
                await db.fetch("INSERT INTO thing (uid, document) VALUES (gen_random_uuid(), '{}')")
                await proxy.stall()

        async with asyncio.timeout(SECONDS):
            with pytest.raises(DatabaseUnavailable):
                await unanswered()
        assert calls == []
        await proxy.heal()


async def test_connections_that_died_while_idle_go_unnoticed() -> None:
    async with behind_a_proxy("?pool=4") as (db, proxy):
        await a_table(db)
        await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.01)") for _ in range(4)))
        await proxy.cut()
        assert await db.fetch("SELECT count(*) AS things FROM thing") == [{"things": 0}]
        await proxy.cut()
        async with db.transaction():
            await db.fetch("INSERT INTO thing (uid, document) VALUES (gen_random_uuid(), '{}')")


async def test_cancelled_statements_give_their_connections_back() -> None:
    async with behind_a_proxy("?pool=2") as (db, _):
        for _round in range(5):
            tasks = [asyncio.create_task(db.fetch("SELECT pg_sleep(30)")) for _ in range(4)]
            await _sleepers(db, 2)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert all(task.cancelled() for task in tasks)
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*(db.fetch("SELECT 1") for _ in range(4)))


async def test_a_statement_that_takes_too_long_ends_on_the_server_too() -> None:
    async with behind_a_proxy("?pool=1&command_timeout=0.3") as (db, _):
        with pytest.raises(DatabaseUnavailable):
            await db.fetch("SELECT pg_sleep(60)")
        await _sleepers(db, 0)
        assert await db.fetch("SELECT 1 AS one") == [{"one": 1}]
        with pytest.raises(DatabaseUnavailable):
            async with db.transaction():
                await db.fetch("SELECT pg_sleep(60)")
        await _sleepers(db, 0)
        async with db.transaction():
            assert await db.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_migrations_may_take_longer_than_other_statements() -> None:
    async with behind_a_proxy("?command_timeout=0.1") as (db, _):
        async with db.migrating():
            await db.fetch("SELECT pg_sleep(0.3)")
            async with db.transaction():
                await db.fetch("SELECT pg_sleep(0.3)")
        with pytest.raises(DatabaseUnavailable):
            await db.fetch("SELECT pg_sleep(0.3)")


async def _sleepers(db: PostgresDatabase, number: int) -> None:
    connection = await asyncpg.connect(str(db.engine.config["dsn"]))  # type: ignore[attr-defined]  # the adapter's own
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    try:
        async with asyncio.timeout(SECONDS):
            while await connection.fetchval(active) != number:  # noqa: ASYNC110 - the event is the server's
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def test_a_server_that_is_away_is_told_at_the_opening() -> None:
    async with postgres_database() as url, FaultProxy("127.0.0.1", 1) as proxy:
        await proxy.refuse()
        with pytest.raises(DatabaseUnavailable, match=f"127.0.0.1:{proxy.port}"):
            await PostgresDatabase.open(through(url, proxy))
        with pytest.raises(DatabaseUnavailable, match="does not exist"):
            await PostgresDatabase.open(url + "_missing")
        await proxy.stall()
        async with asyncio.timeout(SECONDS):
            with pytest.raises(DatabaseUnavailable):
                await PostgresDatabase.open(through(url, proxy))


async def test_opened_lazily_it_waits_for_the_server() -> None:
    async with postgres_database() as url:
        server = urlsplit(url)
        async with FaultProxy(server.hostname or "", server.port or 5432) as proxy:
            await proxy.refuse()
            db = await PostgresDatabase.open(through(url, proxy), lazy=True)
            with pytest.raises(DatabaseUnavailable):
                await db.fetch("SELECT 1 AS one")
            await proxy.heal()
            assert await db.fetch("SELECT 1 AS one") == [{"one": 1}]
            await db.aclose()


async def test_the_event_loop_goes_on_while_an_unresponsive_server_is_asked() -> None:
    async with postgres_database() as url, FaultProxy("127.0.0.1", 1) as proxy:
        await proxy.stall()
        opening = asyncio.create_task(PostgresDatabase.open(through(url, proxy)))
        gaps, last = [], time.monotonic()
        while not opening.done():
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - last)
            last = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await opening
        assert len(gaps) > 20


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///file.db",
        "postgresql://host/db?schema=Users",
        'postgresql://host/db?schema="x"',
        "postgresql://host/db?pool=none",
        "postgresql://host/db?pool=0",
        "postgresql://host/db?command_timeout=-1",
    ],
)
async def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        await PostgresDatabase.open(url)


async def test_a_pool_has_no_more_connections_than_it_may() -> None:
    async with behind_a_proxy("?pool=3") as (db, proxy):
        await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.01)") for _ in range(30)))
        assert proxy.connections <= 3
