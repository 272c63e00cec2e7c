"""The service `storage` described as data."""

from orion_core.plugin import Plugin, hookimpl


@hookimpl
def orion_plugin() -> Plugin:
    """Files."""
    return Plugin("storage", port=3007)
