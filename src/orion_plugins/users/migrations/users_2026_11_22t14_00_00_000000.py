from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T14:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "one row per preference; pages of one person's activity and readings"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="users", description=DESCRIPTION)
    manager.add_raw(
        statements(
            "CREATE UNIQUE INDEX user_preferences_once ON user_preferences (user_id, key)",
            "CREATE INDEX user_activity_page ON user_activity (user_id, timestamp, id)",
            "CREATE INDEX user_activity_actor ON user_activity (actor)",
            "CREATE INDEX user_access_log_page ON user_access_log (subject_id, id)",
        )
    )
    manager.add_raw_backwards(
        statements(
            "DROP INDEX user_preferences_once",
            "DROP INDEX user_activity_page",
            "DROP INDEX user_activity_actor",
            "DROP INDEX user_access_log_page",
        )
    )
    return manager
