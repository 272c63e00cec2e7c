"""Search described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.search.routes import SearchAdminRoutes, SearchRoutes
from orion_plugins.search.service import SearchService
from orion_plugins.search.tables import (
    Document,
    Erased,
    Generation,
    Index,
    Scope,
    Source,
    TaskPart,
    TaskRow,
    Value,
    Word,
)

if TYPE_CHECKING:
    import typer


@hookimpl
def orion_plugin() -> Plugin:
    """Finding what the services publish."""
    return Plugin(
        "search",
        service=SearchService,
        routes=[SearchRoutes, SearchAdminRoutes],
        tables=[Index, Generation, Scope, Source, Document, Value, Word, TaskRow, TaskPart, Erased],
        migrations="orion_plugins.search.migrations",
        permissions=["search:read", "search:write"],
        port=3006,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion search ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.search.commands import search

    cli.add_typer(search, name="search")
