"""``orion migrate``: bring databases to the shape that the code expects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orion_core.cli.console import fail, put, say, table

if TYPE_CHECKING:
    from orion_core.cli.configured import Configured
    from orion_core.migrate import MigrationApp
    from orion_core.ports.database import Database

Services = Annotated[
    list[str] | None, typer.Argument(metavar="SERVICE", help="Services; all that have a database if none.")
]


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    group = typer.Typer(
        name="migrate", help="Bring databases to the shape that the code expects.", no_args_is_help=True
    )
    group.callback()(_group)
    group.command(epilog="Example:  orion migrate status users")(status)
    group.command(epilog="Example:  orion migrate up")(up)
    group.command(epilog="Example:  orion migrate down users --steps 1")(down)
    app.add_typer(group)


def _group() -> None:
    """Bring databases to the shape that the code expects."""


def status(
    services: Services = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every migration and when it was applied. Changes nothing."""
    states = asyncio.run(_status(services or []))
    if as_json:
        put(states)
        return
    for service, found in states.items():
        rows = [(each["app"], each["id"], each["applied_at"] or "pending") for each in found]
        table(service, ("app", "migration", "applied"), rows)
    waiting = [service for service, found in states.items() if any(not each["applied_at"] for each in found)]
    if waiting:
        say(f"pending in {', '.join(waiting)}; apply them with: orion migrate up")
    else:
        say("nothing is pending")


def up(services: Services = None) -> None:
    """Apply what is pending. Several processes may do it at once: each migration runs once."""
    if asyncio.run(_up(services or [])):
        raise typer.Exit(1)


def down(
    service: Annotated[str, typer.Argument(help="The service whose last migrations are undone.")],
    steps: Annotated[int, typer.Option(min=1, help="How many migrations to undo.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Undo the last migrations of one service. What they added is lost, with its data."""
    if not yes:
        typer.confirm(f"Undo {steps} migration(s) of {service}, with the data in what they added?", abort=True)
    if asyncio.run(_down(service, steps)):
        raise typer.Exit(1)


async def _status(names: list[str]) -> dict[str, list[dict[str, Any]]]:
    from orion_core.migrate import status as states

    found: dict[str, list[dict[str, Any]]] = {}
    for name, configured in _chosen(names):
        async with opened(configured, name) as (db, apps):
            found[name] = [
                {"app": each.app, "id": each.id, "applied_at": each.applied_at.isoformat() if each.applied_at else None}
                for each in await states(db, apps)
            ]
    return found


async def _up(names: list[str]) -> int:
    from orion_core.errors import Error
    from orion_core.migrate import up as apply

    failed = 0
    for name, configured in _chosen(names):
        try:
            async with opened(configured, name) as (db, apps):
                done = await apply(db, apps)
        except Error as error:
            fail([f"{name}: {error.detail}"])
            failed += 1
            continue
        for identity in done:
            say(f"{name}: applied {identity}")
        if not done:
            say(f"{name}: nothing to apply")
    return failed


async def _down(name: str, steps: int) -> int:
    from orion_core.migrate import down as undo

    for service, configured in _chosen([name]):
        async with opened(configured, service) as (db, apps):
            try:
                undone = await undo(db, apps, steps=steps)
            except LookupError as error:
                fail([f"{service}: {error}"])
                return 1
        for identity in undone:
            say(f"{service}: undid {identity}")
        if not undone:
            say(f"{service}: nothing to undo")
    return 0


def _chosen(names: list[str]) -> list[tuple[str, Configured]]:
    from orion_core import composition
    from orion_core.adapters import choose
    from orion_core.cli.configured import configured
    from orion_core.errors import StartRefused

    found = configured()
    keeping = [name for name, plugin in found.discovery.plugins.items() if composition.has_database(plugin)]
    chosen = [name for name in composition.chosen(found.discovery, names) if names or name in keeping]
    problems = [
        f"{name} has no database; those with one: {', '.join(keeping)}" for name in chosen if name not in keeping
    ]
    problems += choose.problems(found.settings, chosen)
    if problems:
        raise StartRefused(problems)
    return [(name, found) for name in chosen]


@asynccontextmanager
async def opened(found: Configured, name: str) -> AsyncIterator[tuple[Database, list[MigrationApp]]]:
    """The database of the service `name` with its migrations; raises `DatabaseUnavailable`."""
    from orion_core.adapters import choose
    from orion_core.composition import migration_apps

    db = await choose.open_database(found.settings, name)
    try:
        yield db, migration_apps(found.discovery.plugins[name])
    finally:
        await db.aclose()
