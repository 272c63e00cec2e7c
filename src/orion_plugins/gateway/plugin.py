"""The gateway as a plugin: it wraps the application of its host."""

from __future__ import annotations

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.gateway.pipeline import pipeline
from orion_plugins.gateway.settings import GatewaySettings


@hookimpl
def orion_plugin() -> Plugin:
    """Describe the gateway."""
    return Plugin("gateway", asgi=pipeline, settings=GatewaySettings, port=3000)
