from piccolo.apps.migrations.auto.migration_manager import MigrationManager

ID = "2026-11-25T23:06:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "roles are rows, no longer a column of accounts"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="auth", description=DESCRIPTION)

    manager.drop_column(
        table_class_name="User", tablename="users", column_name="roles", db_column_name="roles", schema=None
    )

    return manager
