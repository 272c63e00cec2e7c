"""``orion search reindex`` and ``orion search status``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from orion_core import codec
from orion_core.cli.console import fail, problems_of, progress, put, say, table
from orion_core.contracts.search import IndexStatus, Search, Task
from orion_core.errors import Error, StartRefused
from orion_core.plugin import Catalogue

search = typer.Typer(name="search", help="Indexes of the search service.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@search.callback()
def _group() -> None:
    """Indexes of the search service."""


@search.command("reindex", epilog="Example: orion search reindex users")
def reindex(
    index: Annotated[str, typer.Argument(help="Which index; all if left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Rebuild an index from the service it belongs to. The old generation answers until the new one is full.

    Works on the configured databases, whether or not a host is running on them.
    """
    try:
        tasks = asyncio.run(_reindex(index))
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
    if as_json:
        put([codec.to_plain(task) for task in tasks])
    else:
        for task in tasks:
            say(f"{task.index}: {task.status}, {task.done} documents, {task.refused} refused. {task.detail}".rstrip())
    if any(task.status != "succeeded" for task in tasks):
        raise typer.Exit(1)


@search.command("status", epilog="Example: orion search status --json")
def status(as_json: AsJson = False) -> None:
    """How all indexes stand."""
    try:
        found = asyncio.run(_status())
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
    if as_json:
        put([codec.to_plain(item) for item in found])
        return
    table(
        "Indexes",
        ("index", "service", "documents", "words", "generation", "building", "waiting tasks"),
        [
            (
                item.name,
                item.service,
                str(item.documents),
                str(item.words),
                str(item.generation),
                "" if item.building is None else str(item.building),
                str(item.waiting_tasks),
            )
            for item in found
        ],
    )


async def _reindex(index: str) -> list[Task]:
    # Imported late: help and completion need no platform.
    from orion_core.cli.configured import configured
    from orion_core.cli.embed import serving
    from orion_plugins.search.service import SearchService

    found = configured()
    owners = {owner for owner, _ in Catalogue(found.discovery.plugins).searchable.values()}
    async with serving("search", *sorted(owners.difference(found.settings.peers))) as platform:
        stub, service = platform.service(Search), platform.services["search"]
        assert isinstance(service, SearchService)
        finished = []
        for name in [index] if index else sorted(service.declared):
            task = await stub.rebuild(name)
            progress(f"rebuilding {name}")
            while (task := (await stub.task(task.id)).task).finished_at is None:
                await service.work.step(name)
            finished.append(task)
        return finished


async def _status() -> tuple[IndexStatus, ...]:
    from orion_core.cli.embed import serving

    async with serving("search") as platform:
        return await platform.service(Search).indexes()
