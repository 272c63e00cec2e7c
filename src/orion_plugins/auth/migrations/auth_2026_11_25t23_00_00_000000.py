from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-25T23:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "the pairs that retries of refreshes may still ask for, by the time at which they were issued"

INDEX = "refresh_tokens_with_successor"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="auth", description=DESCRIPTION)
    manager.add_raw(statements(f"CREATE INDEX {INDEX} ON refresh_tokens (used_at) WHERE successor IS NOT NULL"))
    manager.add_raw_backwards(statements(f"DROP INDEX {INDEX}"))
    return manager
