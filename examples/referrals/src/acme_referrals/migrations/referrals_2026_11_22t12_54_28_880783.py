from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T12:54:28:880783"
VERSION = "1.38.0"
DESCRIPTION = "a person invites an address once; who waits for an address"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="referrals", description=DESCRIPTION)
    manager.add_raw(
        statements(
            "CREATE UNIQUE INDEX referrals_invites_once ON referrals_invites (user_id, email)",
            "CREATE INDEX referrals_invites_email ON referrals_invites (email)",
        )
    )
    manager.add_raw_backwards(statements("DROP INDEX referrals_invites_once", "DROP INDEX referrals_invites_email"))
    return manager
