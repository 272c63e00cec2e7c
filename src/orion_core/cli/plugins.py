"""``orion plugins``: what is installed."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from orion_core.cli.console import put, say, table

if TYPE_CHECKING:
    from orion_core.plugin import Discovery, Plugin


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog="Example:  orion plugins --json")(plugins)


def plugins(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the installed plugins, and those that cannot be loaded with the reason."""
    from orion_core.cli.configured import discovered

    found = described(discovered())
    if as_json:
        put(found)
    elif not found:
        say("no plugin is installed")
    else:
        columns = ("name", "from", "contract", "port", "routes", "tables", "listeners", "jobs", "state")
        rows = [[_cell(each[column]) for column in columns[:-1]] + [_state(each["state"])] for each in found]
        table("", columns, rows)
    if any(each["state"] != "ok" for each in found):
        raise typer.Exit(1)


def described(discovery: Discovery) -> list[dict[str, Any]]:
    """Every plugin as plain data; `state` is ``ok`` or says what is wrong."""
    sources = _distributions()
    found = []
    for name, plugin in discovery.plugins.items():
        module = discovery.modules[name]
        found.append(
            {
                "name": name,
                "from": sources.get(name) or getattr(module, "__name__", ""),
                "contract": plugin.contract.__name__ if plugin.contract else None,
                "port": plugin.port or None,
                "routes": _routes(plugin),
                "tables": len(plugin.tables),
                "listeners": len(plugin.listeners),
                "jobs": len(plugin.jobs),
                "state": "ok",
            }
        )
    nothing = dict.fromkeys(("contract", "port", "routes", "tables", "listeners", "jobs"))
    found += [
        {"name": broken.name, "from": sources.get(broken.name, ""), **nothing, "state": f"broken: {broken.reason}"}
        for broken in discovery.broken
    ]
    found += [{"name": "", "from": "", **nothing, "state": f"broken: {clash}"} for clash in discovery.clashes]
    return found


def _routes(plugin: Plugin) -> int:
    from litestar.handlers import BaseRouteHandler

    return sum(
        isinstance(member, BaseRouteHandler) for controller in plugin.routes for member in vars(controller).values()
    )


def _distributions() -> dict[str, str]:
    from orion_core.plugin import GROUP

    return {
        point.name: f"{point.dist.name} {point.dist.version}"
        for point in importlib.metadata.entry_points(group=GROUP)
        if point.dist is not None
    }


def _cell(found: Any) -> str:
    return "-" if found is None else str(found)


def _state(state: str) -> Text:
    return Text(state, style="green" if state == "ok" else "red")
