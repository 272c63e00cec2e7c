"""The service `analytics` described as data."""

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.analytics.routes import AnalyticsRoutes
from orion_plugins.analytics.service import AnalyticsService
from orion_plugins.analytics.tables import AnalyticsCount


@hookimpl
def orion_plugin() -> Plugin:
    """Numbers about what happens on the platform."""
    return Plugin(
        "analytics",
        service=AnalyticsService,
        routes=[AnalyticsRoutes],
        tables=[AnalyticsCount],
        migrations="orion_plugins.analytics.migrations",
        permissions=["analytics:read"],
        port=3005,
    )
