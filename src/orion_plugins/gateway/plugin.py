"""The gateway as a plugin: it wraps the application of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.plugin import Plugin, hookimpl
from orion_core.web.health import HEALTH_READ
from orion_plugins.gateway.pipeline import pipeline
from orion_plugins.gateway.routes import PURGE, CacheRoutes
from orion_plugins.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    import typer


@hookimpl
def orion_plugin() -> Plugin:
    """Describe the gateway."""
    return Plugin(
        "gateway",
        routes=[CacheRoutes],
        asgi=pipeline,
        settings=GatewaySettings,
        permissions=[PURGE, HEALTH_READ],
        port=3000,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion gateway ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.gateway.commands import gateway

    cli.add_typer(gateway, name="gateway")
