"""The service `users` described as data."""

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.users.routes import UserRoutes
from orion_plugins.users.service import UsersService
from orion_plugins.users.tables import UserProfile


@hookimpl
def orion_plugin() -> Plugin:
    """The people of the platform."""
    return Plugin(
        "users",
        service=UsersService,
        routes=[UserRoutes],
        tables=[UserProfile],
        migrations="orion_plugins.users.migrations",
        permissions=["users:read"],
        port=3002,
    )
