from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T14:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "one notice and one delivery per fact; pages of one person's notices"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="notifications", description=DESCRIPTION)
    manager.add_raw(
        statements(
            "CREATE UNIQUE INDEX notifications_once ON notifications (event_id, type, user_id)",
            "CREATE UNIQUE INDEX notification_deliveries_once "
            "ON notification_deliveries (event_id, template, user_id, channel)",
            "CREATE INDEX notifications_page ON notifications (user_id, id)",
        )
    )
    manager.add_raw_backwards(
        statements(
            "DROP INDEX notifications_once", "DROP INDEX notification_deliveries_once", "DROP INDEX notifications_page"
        )
    )
    return manager
