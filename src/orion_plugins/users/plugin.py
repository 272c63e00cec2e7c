"""The service `users` described as data."""

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.users.avatar_routes import AvatarRoutes
from orion_plugins.users.history_routes import HistoryRoutes
from orion_plugins.users.preference_routes import PreferenceRoutes
from orion_plugins.users.routes import UserRoutes
from orion_plugins.users.searchable import SEARCHABLE
from orion_plugins.users.service import UsersService
from orion_plugins.users.settings import UsersSettings
from orion_plugins.users.tables import UserAccessLog, UserActivity, UserPreference, UserProfile


@hookimpl
def orion_plugin() -> Plugin:
    """The people of the platform."""
    return Plugin(
        "users",
        service=UsersService,
        routes=[UserRoutes, PreferenceRoutes, AvatarRoutes, HistoryRoutes],
        tables=[UserProfile, UserPreference, UserActivity, UserAccessLog],
        migrations="orion_plugins.users.migrations",
        settings=UsersSettings,
        permissions=["users:read", "users:create", "users:write", "users:delete"],
        searchable=[SEARCHABLE],
        port=3002,
    )
