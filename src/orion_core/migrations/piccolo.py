"""The one place where ORION meets Piccolo's migrations.

Piccolo's `MigrationManager` and its anonymous tables ask a global `engine_finder` for *the* engine of the process,
import migration files by bare name, and print. Here they are given, for the running task only, the engine of the
database that is being migrated; modules are imported by their full names; and nothing is printed. Everybody else in the
process gets Piccolo's own behaviour. Nothing is locked: two tasks may migrate two databases at once.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import piccolo.apps.migrations.auto.migration_manager as manager_module
import piccolo.apps.migrations.auto.schema_differ as differ_module
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.apps.migrations.auto.schema_snapshot import SchemaSnapshot
from piccolo.conf.apps import Finder
from piccolo.engine import Engine
from piccolo.table import Table

_ENGINE: ContextVar[Engine[Any] | None] = ContextVar("orion_migrated_engine", default=None)
_SILENT: ContextVar[bool] = ContextVar("orion_silent_migrations", default=False)
_DIALECTS = {"sqlite": "sqlite", "postgres": "postgresql"}


def _print(*values: Any, **options: Any) -> None:
    if not _SILENT.get():
        vars(builtins)["print"](*values, **options)


def _install() -> None:
    # Every `engine_finder()` of Piccolo ends in this method. A test fails when a version of Piccolo changes that, or no
    # longer looks its `print` up in the module.
    finders = vars(Finder)["get_engine"]

    @functools.wraps(finders)
    def get_engine(self: Finder, module_name: str | None = None) -> Any:
        return _ENGINE.get() or finders(self, module_name)

    setattr(Finder, get_engine.__name__, get_engine)
    for module in (manager_module, differ_module):
        vars(module)["print"] = _print


_install()


@contextmanager
def bound(engine: Engine[Any]) -> Iterator[None]:
    """Let Piccolo's migrations, in this task, use `engine` and be silent."""
    token = _ENGINE.set(engine)
    try:
        with silent():
            yield
    finally:
        _ENGINE.reset(token)


@contextmanager
def silent() -> Iterator[None]:
    """Let Piccolo's migrations, in this task, print nothing."""
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


def statements(*sql: str, dialect: str = "") -> Callable[[], Awaitable[None]]:
    """What `MigrationManager.add_raw` and `add_raw_backwards` take: run `sql`, only on `dialect` if one is named.

    `add_raw` runs before tables are made or changed, so an index on a new table belongs in a migration of its own.
    """

    async def run() -> None:
        engine = _ENGINE.get()
        if engine is None:
            raise RuntimeError("statements() runs inside a migration only")
        if dialect in ("", _DIALECTS.get(engine.engine_type)):
            for statement in sql:
                await engine.run_ddl(statement)

    return run


def versions(package: str) -> Mapping[str, ModuleType]:
    """The migrations of `package` by id, oldest first. Raises ImportError when there is no such package."""
    parent = importlib.import_module(package)
    if not hasattr(parent, "__path__"):
        raise ImportError(f"{package} is a module: migrations are modules in a package", name=package)
    found = {}
    for item in pkgutil.iter_modules(parent.__path__):
        module = importlib.import_module(f"{package}.{item.name}")
        # A module without ID is no migration but a helper of some.
        if identity := getattr(module, "ID", ""):
            found[identity] = module
    return dict(sorted(found.items()))


async def manager(modules: Mapping[str, ModuleType], identity: str) -> MigrationManager:
    """The `MigrationManager` that the migration `identity` describes."""
    described = await modules[identity].forwards()
    if not isinstance(described, MigrationManager):
        raise TypeError(f"{modules[identity].__name__}.forwards returns no MigrationManager: return manager")
    # Piccolo's own looks for an app registry in the process's configuration.
    vars(described)["get_table_from_snapshot"] = functools.partial(_table_from_snapshot, modules, identity)
    return described


async def _table_from_snapshot(
    modules: Mapping[str, ModuleType],
    identity: str,
    table_class_name: str,
    app_name: str | None = None,
    offset: int = 0,
    migration_id: str | None = None,
) -> type[Table]:
    """A table as it was after the migration `migration_id`, or `offset` migrations earlier."""
    until = [name for name in modules if name <= (migration_id or identity)]
    managers = [await manager(modules, name) for name in (until[:offset] if offset else until)]
    return SchemaSnapshot(managers).get_table_from_snapshot(table_class_name=table_class_name).to_table_class()


async def run(described: MigrationManager, *, backwards: bool = False) -> None:
    """Apply or undo it on the bound engine, in the transaction of this task if there is one."""
    if not described.fake:
        await described.run(backwards=backwards)
