"""Every migration goes up, down and up again, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orion_core.composition import has_database, migration_apps
from orion_core.migrate import down, pending, status, up
from orion_core.plugin import discover
from orion_core.ports.database import Database
from orion_core.testing.databases import postgres_database

PLUGINS = {name: plugin for name, plugin in discover().plugins.items() if has_database(plugin)}


@asynccontextmanager
async def database(kind: str, folder: Path, name: str) -> AsyncIterator[Database]:
    if kind == "sqlite":
        from orion_core.adapters.sqlite import SqliteDatabase

        db: Database = await SqliteDatabase.open(folder / f"{name}.db", synchronous="NORMAL")
        try:
            yield db
        finally:
            await db.aclose()
        return
    from orion_core.adapters.postgres import PostgresDatabase

    async with postgres_database() as url:
        db = await PostgresDatabase.open(f"{url}?schema={name}", pool=2)
        try:
            yield db
        finally:
            await db.aclose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", PLUGINS)
async def test_migrations_go_up_down_and_up_again(name: str, kind: str, tmp_path: Path) -> None:
    apps = migration_apps(PLUGINS[name])
    async with database(kind, tmp_path, name) as db:
        applied = await up(db, apps)
        assert await pending(db, apps) == []
        assert await up(db, apps) == []

        undone = await down(db, apps, steps=len(applied))
        assert sorted(undone) == sorted(applied)
        assert [state for state in await status(db, apps) if state.applied_at is not None] == []

        assert await up(db, apps) == applied
