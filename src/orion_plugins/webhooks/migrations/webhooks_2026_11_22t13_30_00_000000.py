from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T13:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "pages of deliveries and attempts"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="webhooks", description=DESCRIPTION)
    manager.add_raw(
        statements(
            "CREATE INDEX webhook_deliveries_of_endpoint ON webhook_deliveries (endpoint_id, id)",
            "CREATE INDEX webhook_deliveries_of_status ON webhook_deliveries (status, id)",
            "CREATE INDEX webhook_attempts_of_delivery ON webhook_attempts (delivery_id, id)",
            "CREATE INDEX webhook_attempts_of_endpoint ON webhook_attempts (endpoint_id, id)",
        )
    )
    manager.add_raw_backwards(
        statements(
            "DROP INDEX webhook_deliveries_of_endpoint",
            "DROP INDEX webhook_deliveries_of_status",
            "DROP INDEX webhook_attempts_of_delivery",
            "DROP INDEX webhook_attempts_of_endpoint",
        )
    )
    return manager
