from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T12:54:28:880385"
VERSION = "1.38.0"
DESCRIPTION = "one row for each metric and day"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="analytics", description=DESCRIPTION)
    manager.add_raw(statements("CREATE UNIQUE INDEX analytics_counts_once ON analytics_counts (metric, day)"))
    manager.add_raw_backwards(statements("DROP INDEX analytics_counts_once"))
    return manager
