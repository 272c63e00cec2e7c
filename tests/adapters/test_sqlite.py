"""The database in an SQLite file keeps the promises of its port, among processes too."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.ports.database import Database, DatabaseUnavailable
from orion_core.testing.suites.database import DatabaseSuite, a_table

SLOW = (
    "WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 300000) "
    "SELECT count(*) AS n FROM counter"
)


class TestSqlite(DatabaseSuite):
    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        with tempfile.TemporaryDirectory() as folder:
            db = await SqliteDatabase.open(f"sqlite:///{folder}/new/service.db", busy_timeout=0.2)
            try:
                yield db
            finally:
                await db.aclose()

    @asynccontextmanager
    async def outage(self, db: Database) -> AsyncIterator[None]:
        assert isinstance(db, SqliteDatabase)
        with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield


def test_the_file_and_its_log_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    async def write() -> None:
        db = await SqliteDatabase.open(tmp_path / "a" / "b" / "service.db")
        await a_table(db)
        for file in (tmp_path / "a" / "b").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        await db.aclose()

    asyncio.run(write())


async def test_commits_reach_the_disk_unless_the_url_says_otherwise(tmp_path: Path) -> None:
    for query, expected in (("", 2), ("?synchronous=normal", 1), ("?synchronous=full", 2)):
        db = await SqliteDatabase.open(f"sqlite:///{tmp_path}/service.db{query}")
        async with db.transaction():
            assert await db.fetch("PRAGMA synchronous") == [{"synchronous": expected}]
            assert await db.fetch("PRAGMA journal_mode") == [{"journal_mode": "wal"}]
            assert await db.fetch("PRAGMA foreign_keys") == [{"foreign_keys": 1}]
        await db.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        ":memory:",
        "sqlite:///:memory:",
        "sqlite://host/file.db",
        "postgresql://host/db",
        "sqlite:///a.db?cache=shared",
    ],
)
async def test_what_is_no_file_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        await SqliteDatabase.open(url)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "service.db"
    file.write_bytes(b"no database at all, but long enough to be looked at as if it was one" * 100)
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        await SqliteDatabase.open(file)
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        await SqliteDatabase.open(file / "below a file")


async def test_a_long_read_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    db = await SqliteDatabase.open(tmp_path / "service.db")
    await a_table(db)
    long = asyncio.create_task(db.fetch(SLOW))
    await asyncio.sleep(0)
    assert not long.done()
    assert await db.fetch("SELECT 1 AS one") == [{"one": 1}]
    assert await long == [{"n": 300000}]
    async with db.transaction():
        assert await db.fetch(SLOW) == [{"n": 300000}]
        await db.fetch(
            "INSERT INTO thing (uid, document) VALUES ($1, $2)", "5f0e5fd0-31c4-4f2b-9d0b-9d9f8f9f8f01", "{}"
        )
    assert await db.fetch("SELECT count(*) AS things FROM thing") == [{"things": 1}]
    await db.aclose()


async def test_a_read_that_sees_a_missing_file_fails_the_check(tmp_path: Path) -> None:
    db = await SqliteDatabase.open(tmp_path / "service.db")
    (tmp_path / "service.db").unlink()
    assert (await db.check()).status == "fail"
    await db.aclose()


def _write(file: str, rows: int) -> None:
    async def write() -> None:
        db = await SqliteDatabase.open(file)
        for _ in range(rows):
            async with db.transaction():
                count = (await db.fetch("SELECT count(*) AS n FROM numbers"))[0]["n"]
                await db.fetch("INSERT INTO numbers (n) VALUES ($1)", count)
        await db.aclose()

    asyncio.run(write())


async def test_processes_that_read_and_then_write_wait_for_each_other(tmp_path: Path) -> None:
    """U43: never "database is locked"."""
    file = tmp_path / "service.db"
    db = await SqliteDatabase.open(file)
    await db.fetch("CREATE TABLE numbers (n INTEGER UNIQUE)")
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(str(file), 25)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join, 60)
        assert writer.exitcode == 0
        writer.close()
    assert await db.fetch("SELECT count(*) AS n, max(n) AS last FROM numbers") == [{"n": 100, "last": 99}]
    await db.aclose()
