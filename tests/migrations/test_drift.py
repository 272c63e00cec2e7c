"""Tables and migrations say the same, for core and for every plugin."""

from __future__ import annotations

import importlib

import pytest

from orion_core.composition import migration_apps
from orion_core.migrate_new import drift
from orion_core.plugin import discover

PLUGINS = {name: plugin for name, plugin in discover().plugins.items() if plugin.tables}


@pytest.mark.parametrize("name", PLUGINS)
async def test_the_migrations_of_a_plugin_make_exactly_its_tables(name: str) -> None:
    """A table changed without a migration works on the developer's machine only."""
    app = migration_apps(PLUGINS[name])[-1]

    assert await drift(app.name, PLUGINS[name].tables, app.package) == []


async def test_the_migrations_of_core_make_exactly_its_tables() -> None:
    """The same for outbox, inbox, deliveries and jobs."""
    from piccolo.table import Table

    from orion_core.migrate import CORE

    module = importlib.import_module("orion_core.migrations.tables")
    tables = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Table) and item.__module__ == module.__name__
    ]

    assert await drift(CORE.name, tables, CORE.package) == []
