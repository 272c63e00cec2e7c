"""The service `notifications` described as data."""

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.notifications.routes import NotificationRoutes
from orion_plugins.notifications.service import NotificationsService
from orion_plugins.notifications.settings import NotificationsSettings
from orion_plugins.notifications.tables import (
    Notification,
    NotificationDelivery,
    NotificationHistory,
    NotificationTombstone,
)


@hookimpl
def orion_plugin() -> Plugin:
    """Notices to people."""
    return Plugin(
        "notifications",
        service=NotificationsService,
        routes=[NotificationRoutes],
        tables=[Notification, NotificationDelivery, NotificationHistory, NotificationTombstone],
        migrations="orion_plugins.notifications.migrations",
        settings=NotificationsSettings,
        port=3003,
    )
