"""The service `analytics` described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.analytics.routes import AnalyticsRoutes
from orion_plugins.analytics.service import AnalyticsService
from orion_plugins.analytics.settings import AnalyticsSettings
from orion_plugins.analytics.tables import TABLES

if TYPE_CHECKING:
    import typer


@hookimpl
def orion_plugin() -> Plugin:
    """Numbers about what happens on the platform."""
    return Plugin(
        "analytics",
        service=AnalyticsService,
        routes=[AnalyticsRoutes],
        tables=TABLES,
        migrations="orion_plugins.analytics.migrations",
        settings=AnalyticsSettings,
        permissions=["analytics:read", "analytics:export", "analytics:manage"],
        port=3005,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion analytics ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.analytics.commands import analytics

    cli.add_typer(analytics, name="analytics")
