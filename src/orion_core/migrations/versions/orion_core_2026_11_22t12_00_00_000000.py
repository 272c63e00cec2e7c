from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T12:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "what must be unique, and indexes for claiming over the few rows that wait"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="orion_core", description=DESCRIPTION)
    manager.add_raw(
        statements(
            "CREATE UNIQUE INDEX orion_deliveries_once ON orion_deliveries (event_id, queue)",
            "CREATE UNIQUE INDEX orion_inbox_once ON orion_inbox (queue, event_id)",
            "CREATE INDEX orion_outbox_unpublished ON orion_outbox (position) WHERE published_ms IS NULL",
            "CREATE INDEX orion_deliveries_ready ON orion_deliveries (queue, state, due_ms) WHERE state = 'ready'",
            "CREATE INDEX orion_jobs_claim ON orion_jobs (queue, state, priority, due_ms)",
        )
    )
    manager.add_raw_backwards(
        statements(
            "DROP INDEX orion_deliveries_once",
            "DROP INDEX orion_inbox_once",
            "DROP INDEX orion_outbox_unpublished",
            "DROP INDEX orion_deliveries_ready",
            "DROP INDEX orion_jobs_claim",
        )
    )
    return manager
