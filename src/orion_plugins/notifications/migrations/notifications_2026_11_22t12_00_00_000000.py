from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T12:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "pages of one person's notices, newest first"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="notifications", description=DESCRIPTION)
    manager.add_raw(statements("CREATE INDEX notifications_user_id_id ON notifications (user_id, id)"))
    manager.add_raw_backwards(statements("DROP INDEX notifications_user_id_id"))
    return manager
