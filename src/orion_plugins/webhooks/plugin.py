"""The service `webhooks` described as data."""

from orion_core.plugin import Plugin, hookimpl


@hookimpl
def orion_plugin() -> Plugin:
    """Outbound webhooks."""
    return Plugin("webhooks", permissions=["webhooks:manage"], port=3008)
