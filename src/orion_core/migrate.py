"""Bring a service's database to the shape that its code expects, and back.

Core's migrations come first, then the plugin's. Each runs once, however many processes start at the same time, and is
committed together with the row that says so: in Piccolo's table ``migration``, in the service's own schema. Databases
are never made, PostgreSQL schemas are.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Protocol, runtime_checkable

import attrs
from piccolo.columns import Timestamp, Varchar
from piccolo.table import create_table_class

from orion_core.migrations import piccolo
from orion_core.ports.database import Database


@attrs.frozen
class MigrationApp:
    """The migrations of core or of one plugin: `name` in the bookkeeping, `package` the dotted package of versions."""

    name: str
    package: str


@attrs.frozen
class MigrationState:
    """One migration of an app, and when it was applied, if it was."""

    app: str
    id: str
    applied_at: datetime.datetime | None = None


CORE = MigrationApp("orion_core", "orion_core.migrations.versions")
"""The migrations of core's own tables; the first of every service's apps."""


_BOOKKEEPING = {
    "sqlite": "SELECT 1 AS found FROM sqlite_master WHERE type = 'table' AND name = 'migration'",
    # Only the service's own schema: the role may see a table of that name in others.
    "postgresql": "SELECT 1 AS found FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'migration'",
}


@runtime_checkable
class Migratable(Database, Protocol):
    """A database that can be migrated."""

    def migrating(self) -> AbstractAsyncContextManager[None]:
        """Make the schema if it is missing, keep every other process from migrating, and lift limits of time."""
        ...


async def status(db: Database, apps: Iterable[MigrationApp]) -> list[MigrationState]:
    """Every migration of `apps`, in the order in which they are applied. Writes nothing."""
    applied = {(row.app, row.id): row for row in await _applied(db)}
    return [
        applied.get((app.name, identity), MigrationState(app.name, identity))
        for app in apps
        for identity in piccolo.versions(app.package)
    ]


async def pending(db: Database, apps: Iterable[MigrationApp]) -> list[MigrationState]:
    """The migrations of `apps` that have not been applied. Writes nothing."""
    return [state for state in await status(db, apps) if state.applied_at is None]


async def up(db: Database, apps: Iterable[MigrationApp]) -> list[str]:
    """Apply what is pending, oldest first and app by app; returns the ids applied by this call.

    A migration that fails leaves the database as it was before it, and its error is raised; those before it stay.
    Raises `DatabaseUnavailable` when the database is away or another process migrates for minutes.
    """
    done = []
    async with _migratable(db).migrating():
        await _create_bookkeeping(db)
        for app in apps:
            modules = piccolo.versions(app.package)
            done += [identity for identity in modules if await _apply(db, app, identity, modules)]
    return done


async def down(db: Database, apps: Iterable[MigrationApp], *, steps: int = 1) -> list[str]:
    """Undo the last `steps` migrations of `apps` that were applied to `db`, last first; returns their ids.

    Raises LookupError, having undone those before it, for a migration that is applied and not installed.
    """
    known = {app.name: app for app in apps}
    undone = []
    async with _migratable(db).migrating():
        applied = [state for state in await _applied(db) if state.app in known]
        for state in applied[::-1][:steps]:
            modules = piccolo.versions(known[state.app].package)
            if state.id not in modules:
                raise LookupError(f"the migration {state.id} of {state.app} is applied but not installed: install it")
            if await _undo(db, state, modules):
                undone.append(state.id)
    return undone


async def _apply(db: Database, app: MigrationApp, identity: str, modules: Mapping[str, ModuleType]) -> bool:
    record = "INSERT INTO migration (name, app_name, ran_on) VALUES ($1, $2, $3)"
    row = (identity, app.name, datetime.datetime.now(datetime.UTC).replace(tzinfo=None))
    with piccolo.bound(db.engine):
        migration = await piccolo.manager(modules, identity)
        if migration.wrap_in_transaction:
            async with db.transaction():
                # Looked up inside the transaction: on SQLite it is what keeps other processes out.
                if await _is_applied(db, app.name, identity):
                    return False
                await piccolo.run(migration)
                await db.fetch(record, *row)
        else:
            if await _is_applied(db, app.name, identity):
                return False
            await piccolo.run(migration)
            await db.fetch(record, *row)
    return True


async def _undo(db: Database, state: MigrationState, modules: Mapping[str, ModuleType]) -> bool:
    forget = "DELETE FROM migration WHERE app_name = $1 AND name = $2"
    with piccolo.bound(db.engine):
        migration = await piccolo.manager(modules, state.id)
        if migration.wrap_in_transaction:
            async with db.transaction():
                if not await _is_applied(db, state.app, state.id):
                    return False
                await piccolo.run(migration, backwards=True)
                await db.fetch(forget, state.app, state.id)
        else:
            await piccolo.run(migration, backwards=True)
            await db.fetch(forget, state.app, state.id)
    return True


async def _is_applied(db: Database, app: str, identity: str) -> bool:
    found = "SELECT 1 AS found FROM migration WHERE app_name = $1 AND name = $2"
    return bool(await db.fetch(found, app, identity))


async def _applied(db: Database) -> Sequence[MigrationState]:
    if not await _has_bookkeeping(db):
        return ()
    rows = await db.fetch("SELECT name, app_name, ran_on FROM migration ORDER BY id")
    return [MigrationState(row["app_name"], row["name"], row["ran_on"].replace(tzinfo=datetime.UTC)) for row in rows]


async def _has_bookkeeping(db: Database) -> bool:
    return bool(await db.fetch(_BOOKKEEPING[db.dialect.name]))


async def _create_bookkeeping(db: Database) -> None:
    # A class of its own, as Piccolo's keeps the first engine that it meets. The columns are those of Piccolo's.
    table = create_table_class(
        "Migration",
        class_kwargs={"tablename": "migration", "db": db.engine},
        class_members={
            "name": Varchar(length=200),
            "app_name": Varchar(length=200),
            "ran_on": Timestamp(),
        },
    )
    if not await _has_bookkeeping(db):
        await table.create_table(if_not_exists=True)


def _migratable(db: Database) -> Migratable:
    if not isinstance(db, Migratable):
        raise TypeError(f"{type(db).__name__} cannot be migrated: it has no migrating()")
    return db
