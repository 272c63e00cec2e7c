"""Write the next migration of an app from its tables, or tell whether there is anything to write.

::

    python -m orion_core.migrate_new acme_referrals.tables referrals src/acme_referrals/migrations

The folder must be a package that can be imported; it is made when it is missing. The same migrations serve SQLite and
PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import black
from piccolo import __VERSION__ as PICCOLO
from piccolo.apps.migrations.auto import AlterStatements
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.apps.migrations.auto.serialisation import Import
from piccolo.apps.migrations.commands.new import AutoMigrationManager, _generate_migration_meta
from piccolo.conf.apps import AppConfig, MigrationModule, table_finder
from piccolo.table import Table

from orion_core.migrations import piccolo

_FORWARDS = """async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name={app!r}, description=DESCRIPTION)"""


class _Differ(AutoMigrationManager):
    """Piccolo's comparison of tables with migrations, on modules imported by their full names."""

    def __init__(self, modules: dict[str, ModuleType], answer: str | None) -> None:
        super().__init__(auto_input=answer)
        self._modules = modules

    def get_migration_modules(self, folder_path: str) -> dict[str, MigrationModule]:
        return self._modules  # type: ignore[return-value]  # a migration is a module with these functions


async def _changes(
    app: str, tables: Sequence[type[Table]], modules: dict[str, ModuleType], answer: str | None
) -> list[AlterStatements]:
    config = AppConfig(app_name=app, migrations_folder_path="", table_classes=list(tables))
    with piccolo.silent():
        return await _Differ(modules, answer).get_alter_statements(config)


async def drift(app_name: str, tables: Sequence[type[Table]], package: str) -> list[str]:
    """What the next migration would do; empty when the tables and the migrations in `package` agree."""
    changes = await _changes(app_name, tables, dict(piccolo.versions(package)), "n")
    return [statement for change in changes for statement in change.statements]


async def new(
    app_name: str,
    tables: Sequence[type[Table]],
    folder: Path,
    *,
    description: str = "",
    renames: bool | None = None,
) -> Path | None:
    """Write the next migration of `app_name` into `folder`; None when there is nothing to write.

    `renames` tells whether a vanished and a new name are one that was renamed; None asks on the terminal each time.
    """
    answer = None if renames is None else "y" if renames else "n"
    changes = await _changes(app_name, tables, _modules_in(folder), answer)
    if not any(change.statements for change in changes):
        return None
    meta = _generate_migration_meta(AppConfig(app_name=app_name, migrations_folder_path=folder))
    source = _render(app_name, meta.migration_id, description, changes, {table.__module__ for table in tables})
    return _write(Path(meta.migration_path), app_name, source)


def _render(app: str, identity: str, description: str, changes: Sequence[AlterStatements], own: set[str]) -> str:
    imports = {item for change in changes for item in change.extra_imports}
    source = "\n\n".join(
        [
            _imports({*imports, Import(MigrationManager.__module__, MigrationManager.__name__)}, own),
            *sorted({repr(item) for change in changes for item in change.extra_definitions}),
            f"ID = {identity!r}\nVERSION = {PICCOLO!r}\nDESCRIPTION = {description!r}",
            _FORWARDS.format(app=app),
            *(f"    {statement}" for change in changes for statement in change.statements),
            "    return manager",
        ]
    )
    return black.format_str(source, mode=black.FileMode(line_length=120))


def _imports(imports: set[Import], own: set[str]) -> str:
    """The imports in isort's order, as linters want them."""
    ours = {module.partition(".")[0] for module in own}
    ours |= {"orion_core", "orion_plugins"} if ours & {"orion_core", "orion_plugins"} else set()
    sections: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for item in imports:
        root = item.module.partition(".")[0]
        section = sections[0 if root in sys.stdlib_module_names else 2 if root in ours else 1]
        if item.target is None:
            section.add(f"import {item.module}")
            continue
        names = {other.target for other in imports if other.module == item.module and other.target}
        order = sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
        section.add(f"from {item.module} import {', '.join(order)}")
    return "\n\n".join(
        "\n".join(sorted(section, key=lambda line: (line.startswith("from"), line)))
        for section in sections.values()
        if section
    )


def _write(path: Path, app: str, source: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    package = path.parent / "__init__.py"
    if not package.exists():
        package.write_text(f'"""Migrations of {app}, in the order of their names."""\n', encoding="utf-8")
    path.write_text(source, encoding="utf-8")
    return path


def _modules_in(folder: Path) -> dict[str, ModuleType]:
    # By path, so that a package that is not installed yet can be written too.
    modules = {}
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"_orion_migration_{path.stem}", path)
        if path.stem != "__init__" and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            if identity := getattr(module, "ID", ""):
                modules[identity] = module
    return dict(sorted(modules.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m orion_core.migrate_new", description=__doc__)
    parser.add_argument("tables", help="dotted module with the Piccolo tables")
    parser.add_argument("app", help="name of the plugin")
    parser.add_argument("folder", type=Path, help="folder of its migrations")
    parser.add_argument("--description", default="", help="what the migration is for")
    parser.add_argument(
        "--renames",
        action=argparse.BooleanOptionalAction,
        help="whether a vanished and a new name are one that was renamed; asked otherwise",
    )
    options = parser.parse_args(arguments)
    importlib.import_module(options.tables)
    tables = table_finder([options.tables], exclude_imported=True)
    written = asyncio.run(
        new(options.app, tables, options.folder, description=options.description, renames=options.renames)
    )
    sys.stdout.write(f"{written}\n" if written else "nothing to write: tables and migrations agree\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
