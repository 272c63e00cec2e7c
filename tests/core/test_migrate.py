"""Migrations run once, whole or not at all, on exactly the database that is meant, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from piccolo.columns import Column, ForeignKey, Integer, Text, Varchar
from piccolo.engine import SQLiteEngine, engine_finder
from piccolo.table import Table, create_table_class

from orion_core import migrate_new
from orion_core.adapters.postgres import PostgresDatabase
from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.migrate import CORE, Migratable, MigrationApp, down, pending, status, up
from orion_core.migrate_new import drift, new
from orion_core.migrations import piccolo
from orion_core.migrations.tables import TABLES
from orion_core.testing.databases import postgres_database

Open = Callable[[], AbstractAsyncContextManager[Migratable]]


@asynccontextmanager
async def on_sqlite() -> AsyncIterator[Migratable]:
    with tempfile.TemporaryDirectory() as folder:
        db = await SqliteDatabase.open(f"{folder}/service.db")
        try:
            yield db
        finally:
            await db.aclose()


@asynccontextmanager
async def on_postgres(query: str = "?schema=users") -> AsyncIterator[Migratable]:
    async with postgres_database() as url:
        db = await PostgresDatabase.open(url + query)
        try:
            yield db
        finally:
            await db.aclose()


both = pytest.mark.parametrize("opened", [on_sqlite, on_postgres], ids=["sqlite", "postgresql"])


async def tables_of(db: Migratable) -> set[str]:
    names = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        "postgresql": "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()",
    }
    return {row["name"] for row in await db.fetch(names[db.dialect.name])}


CORE_TABLES = {"orion_outbox", "orion_sequences", "orion_deliveries", "orion_inbox", "orion_jobs"}


@both
async def test_fresh_twice_down_and_up_again(opened: Open) -> None:
    async with opened() as db:
        waiting = await pending(db, [CORE])
        assert [state.app for state in waiting] == ["orion_core"] * len(waiting)
        assert await tables_of(db) == set(), "looking writes nothing"
        ids = await up(db, [CORE])
        assert ids == [state.id for state in waiting] == sorted(ids)
        assert await up(db, [CORE]) == []
        assert await pending(db, [CORE]) == []
        assert await tables_of(db) == {*CORE_TABLES, "migration"}
        applied = await status(db, [CORE])
        assert all(state.applied_at is not None and state.applied_at.tzinfo is not None for state in applied)

        assert await down(db, [CORE]) == [ids[-1]]
        assert [state.id for state in await pending(db, [CORE])] == [ids[-1]]
        assert await down(db, [CORE], steps=100) == ids[-2::-1]
        assert await tables_of(db) == {"migration"}
        assert await down(db, [CORE]) == []
        assert await up(db, [CORE]) == ids
        assert await tables_of(db) == {*CORE_TABLES, "migration"}


async def test_core_tables_and_their_migrations_agree() -> None:
    assert await drift(CORE.name, TABLES, CORE.package) == []


@both
async def test_core_tables_keep_what_they_promise(opened: Open) -> None:
    async with opened() as db:
        await up(db, [CORE])
        told = (
            "INSERT INTO orion_outbox (event_id, name, version, source, subject, sequence, time_ms, data, "
            "correlation_id, causation_id, started, tracestate, originator, heard, attempts, due_ms, claimed_until_ms, "
            "last_error) VALUES ($1, 'user.registered', 1, 'auth', 'x', 1, 1, '{}', '', '', '', '', '', $2, 0, 0, 0, "
            "'') RETURNING position, event_id, heard, published_ms"
        )
        event = uuid.uuid4()
        (first,) = await db.fetch(told, event, True)
        assert first["event_id"] == event
        assert first["heard"] is True
        assert first["published_ms"] is None
        await db.fetch("DELETE FROM orion_outbox")
        (second,) = await db.fetch(told, event, False)
        assert second["position"] > first["position"], "a position is never given twice"
        row = "INSERT INTO orion_inbox (queue, event_id, at_ms) VALUES ($1, $2, 0) ON CONFLICT (queue, event_id) "
        assert len(await db.fetch(row + "DO NOTHING RETURNING id", "q", event)) == 1
        assert await db.fetch(row + "DO NOTHING RETURNING id", "q", event) == []


@pytest.fixture
def package(tmp_path: Path) -> Iterator[str]:
    """An empty package of migrations that can be imported; its name is also its app's."""
    name = f"migrations_{uuid.uuid4().hex}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    yield name
    sys.path.remove(str(tmp_path))
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def folder_of(package: str) -> Path:
    return Path(sys.path[0]) / package


def a_table(name: str, tablename: str, /, **columns: Column) -> type[Table]:
    return create_table_class(name, class_kwargs={"tablename": tablename}, class_members=columns)


async def generate(package: str, *tables: type[Table], renames: bool = False) -> str:
    """Write the next migration of `package` from `tables`, as an author does; returns its id."""
    assert await drift(package, tables, package) != []
    assert await new(package, tables, folder_of(package), renames=renames) is not None
    importlib.invalidate_caches()
    assert await drift(package, tables, package) == []
    assert await new(package, tables, folder_of(package)) is None
    return list(piccolo.versions(package))[-1]


def write(package: str, identity: str, body: str, *, options: str = "") -> None:
    """A migration of `package` written by hand."""
    (folder_of(package) / f"{package}_{identity}.py").write_text(
        "from piccolo.apps.migrations.auto.migration_manager import MigrationManager\n"
        "from orion_core.migrations.piccolo import statements\n"
        f"ID = {identity!r}\n"
        "async def forwards():\n"
        f"    manager = MigrationManager(migration_id=ID, app_name='x'{options})\n"
        f"    {body}\n"
        "    return manager\n"
    )
    importlib.invalidate_caches()


@both
async def test_an_upgrade_keeps_the_rows_and_can_be_undone(opened: Open, package: str) -> None:
    app = MigrationApp(package, package)
    async with opened() as db:
        first = await generate(package, a_table("Band", "band", name=Varchar(), old=Text()))
        assert await up(db, [CORE, app]) == [*piccolo.versions(CORE.package), first]
        await db.fetch("INSERT INTO band (name, old) VALUES ($1, $2)", "Rustaceans", "x")

        band = a_table("Band", "band", name=Varchar(), fans=Integer(default=7))
        concert = a_table("Concert", "concert", band=ForeignKey(band), at=Text(index=True))
        second = await generate(package, band, concert)
        assert [state.id for state in await pending(db, [CORE, app])] == [second]
        assert await up(db, [CORE, app]) == [second]
        assert await db.fetch("SELECT * FROM band") == [{"id": 1, "name": "Rustaceans", "fans": 7}]
        await db.fetch("INSERT INTO concert (band, at) VALUES ($1, $2)", 1, "noon")

        assert await down(db, [CORE, app]) == [second]
        assert await db.fetch("SELECT * FROM band") == [{"id": 1, "name": "Rustaceans", "old": ""}]
        assert "concert" not in await tables_of(db)
        assert await up(db, [CORE, app]) == [second]

        third = await generate(package, band)
        assert await up(db, [app]) == [third]
        assert "concert" not in await tables_of(db)
        assert await down(db, [app], steps=3) == [third, second, first]
        assert await tables_of(db) == {*CORE_TABLES, "migration"}


@both
async def test_a_failing_migration_leaves_nothing_and_those_before_it_stay(opened: Open, package: str) -> None:
    app = MigrationApp(package, package)
    write(package, "1", "manager.add_raw(statements('CREATE TABLE one (n INTEGER)'))")
    write(package, "2", "manager.add_raw(statements('CREATE TABLE two (n INTEGER)', 'CREATE NONSENSE'))")
    async with opened() as db:
        with pytest.raises(Exception, match=r"(?i)nonsense"):
            await up(db, [app])
        assert await tables_of(db) == {"one", "migration"}
        assert [state.id for state in await pending(db, [app])] == ["2"]
        write(package, "3", "pass")
        (folder_of(package) / f"{package}_2.py").unlink()
        importlib.invalidate_caches()
        assert await up(db, [app]) == ["3"]


@both
async def test_a_migration_may_do_without_a_transaction_and_be_for_one_database(opened: Open, package: str) -> None:
    app = MigrationApp(package, package)
    write(package, "1", "manager.add_raw(statements('CREATE TABLE one (n INTEGER)'))")
    concurrently = "'CREATE INDEX CONCURRENTLY one_n ON one (n)', dialect='postgresql'"
    write(package, "2", f"manager.add_raw(statements({concurrently}))", options=", wrap_in_transaction=False")
    write(package, "3", "manager.add_raw(statements('CREATE INDEX one_n ON one (n)', dialect='sqlite'))")
    async with opened() as db:
        assert await up(db, [app]) == ["1", "2", "3"]
        assert await up(db, [app]) == []
        assert await down(db, [app], steps=2) == ["3", "2"]


async def test_what_is_applied_but_not_installed_cannot_be_undone(package: str) -> None:
    app = MigrationApp(package, package)
    write(package, "1", "pass")
    async with on_sqlite() as db:
        await up(db, [app])
        (folder_of(package) / f"{package}_1.py").unlink()
        with pytest.raises(LookupError, match="not installed"):
            await down(db, [app])


async def test_two_databases_of_one_process_are_migrated_at_once_and_apart(package: str) -> None:
    app = MigrationApp(package, package)
    await generate(package, a_table("Band", "band", name=Varchar()))
    async with on_sqlite() as one, on_sqlite() as two, on_postgres() as three, on_postgres() as four:
        every: list[Migratable] = [one, two, three, four]
        results = await asyncio.gather(*(up(db, [CORE, app]) for db in every))
        assert len(results[0]) == 3
        assert results == [results[0]] * 4
        for db in every:
            assert await tables_of(db) == {*CORE_TABLES, "band", "migration"}
            assert await pending(db, [CORE, app]) == []


async def test_two_schemas_of_one_database_each_have_their_own_tables() -> None:
    async with postgres_database() as url:
        users = await PostgresDatabase.open(url + "?schema=users")
        auth = await PostgresDatabase.open(url + "?schema=auth")
        await up(users, [CORE])
        assert await tables_of(auth) == set()
        assert len(await pending(auth, [CORE])) == len(await up(auth, [CORE]))
        await down(users, [CORE], steps=100)
        assert await tables_of(users) == {"migration"}
        assert await tables_of(auth) == {*CORE_TABLES, "migration"}
        await users.aclose()
        await auth.aclose()


def _up_in_a_process(url: str, count: Any) -> None:
    async def run() -> None:
        db: Migratable
        if url.startswith("postgresql"):
            db = await PostgresDatabase.open(url)
        else:
            db = await SqliteDatabase.open(url)
        applied = await up(db, [CORE])
        with count.get_lock():
            count.value += len(applied)
        await db.aclose()

    asyncio.run(run())


@both
async def test_a_column_that_was_renamed_keeps_its_values(opened: Open, package: str) -> None:
    app = MigrationApp(package, package)
    async with opened() as db:
        await generate(package, a_table("Band", "band", old=Varchar()))
        await up(db, [app])
        await db.fetch("INSERT INTO band (old) VALUES ($1)", "Rustaceans")
        await generate(package, a_table("Band", "band", new=Varchar()), renames=True)
        await up(db, [app])
        assert await db.fetch("SELECT new FROM band") == [{"new": "Rustaceans"}]


async def _at_once(processes: int, url: str) -> int:
    spawn = multiprocessing.get_context("spawn")
    count = spawn.Value("i", 0)
    started = [spawn.Process(target=_up_in_a_process, args=(url, count)) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        await asyncio.to_thread(process.join, 120)
        assert process.exitcode == 0
        process.close()
    return int(count.value)


async def test_six_processes_at_once_all_succeed_and_each_migration_runs_once() -> None:
    """D21: under a lock."""
    async with postgres_database() as url:
        assert await _at_once(6, url + "?schema=users") == len(piccolo.versions(CORE.package))
        db = await PostgresDatabase.open(url + "?schema=users")
        assert await pending(db, [CORE]) == []
        await db.aclose()


async def test_several_processes_at_once_share_a_new_sqlite_file(tmp_path: Path) -> None:
    """D21: under a lock, which here is the file's."""
    assert await _at_once(4, f"sqlite:///{tmp_path}/service.db") == len(piccolo.versions(CORE.package))
    db = await SqliteDatabase.open(tmp_path / "service.db")
    assert await pending(db, [CORE]) == []
    await db.aclose()


async def test_a_role_that_may_not_make_schemas_can_migrate_one_that_is_there() -> None:
    async with postgres_database() as url:
        owner = await PostgresDatabase.open(url)
        role = f"orion_test_{uuid.uuid4().hex}"
        await owner.fetch(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        try:
            await owner.fetch(f"CREATE SCHEMA users AUTHORIZATION {role}")
            await owner.fetch(f"ALTER ROLE {role} SET search_path = users")
            server = urlsplit(url)
            mine = server._replace(netloc=f"{role}:secret@{server.hostname}:{server.port or 5432}").geturl()
            plain = await PostgresDatabase.open(mine)
            named = await PostgresDatabase.open(mine + "?schema=users")
            assert await up(plain, [CORE]) == list(piccolo.versions(CORE.package))
            assert await up(named, [CORE]) == []
            await plain.aclose()
            await named.aclose()
        finally:
            await owner.fetch("DROP SCHEMA users CASCADE")
            await owner.fetch(f"DROP ROLE {role}")
            await owner.aclose()


async def test_nothing_is_printed_and_the_rest_of_the_process_keeps_its_own_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a_piccolo_conf.py").write_text(
        "from piccolo.engine.sqlite import SQLiteEngine\nDB = SQLiteEngine('somebody_elses.db')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PICCOLO_CONF", "a_piccolo_conf")
    async with on_sqlite() as db:
        with piccolo.bound(db.engine):
            assert engine_finder() is db.engine
            assert a_table("Anonymous", "anonymous")._meta.db is db.engine
        migrating = asyncio.create_task(up(db, [CORE]))
        while not migrating.done():
            found = engine_finder()
            assert isinstance(found, SQLiteEngine)
            assert found.path == "somebody_elses.db"
            await asyncio.sleep(0)
        await migrating
        await down(db, [CORE])
    await drift(CORE.name, TABLES, CORE.package)
    assert capsys.readouterr().out == ""


async def test_a_package_that_is_missing_or_no_migration_is_named(package: str) -> None:
    (folder_of(package) / "wrong.py").write_text("ID = '1'\nasync def forwards():\n    return None\n")
    async with on_sqlite() as db:
        with pytest.raises(ImportError, match="no_such_package"):
            await up(db, [MigrationApp("x", "no_such_package.migrations")])
        with pytest.raises(ImportError, match="is a module"):
            await up(db, [MigrationApp("x", "orion_core.errors")])
        with pytest.raises(TypeError, match=r"wrong\.forwards"):
            await up(db, [MigrationApp("x", package)])


def test_the_command_writes_a_migration_once(
    package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(package).parent / "somewhere" / "migrations"
    (folder_of(package) / "tables.py").write_text(
        "from piccolo.columns import Varchar\n"
        "from piccolo.table import Table\n"
        "from orion_core.migrations.tables import Inbox\n"
        "class Guest(Table, tablename='guests'):\n"
        "    name = Varchar()\n"
    )
    monkeypatch.setattr(sys, "argv", ["orion_core.migrate_new"])
    arguments = [f"{package}.tables", "guests", str(folder)]
    assert migrate_new.main(arguments) == 0
    (written,) = folder.glob("guests_*.py")
    assert capsys.readouterr().out == f"{written}\n"
    assert (folder / "__init__.py").exists()
    source = written.read_text()
    assert "guests" in source
    assert "orion_inbox" not in source, "imported tables belong to another app"
    assert migrate_new.main(arguments) == 0
    assert "nothing to write" in capsys.readouterr().out
