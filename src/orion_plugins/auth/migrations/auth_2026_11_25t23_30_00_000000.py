from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements
from orion_plugins.auth.audit_chain import START
from orion_plugins.auth.dialect import POSTGRES_DOWN, POSTGRES_UP, SQLITE_DOWN, SQLITE_UP

ID = "2026-11-25T23:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "the audit log begins its chain, and refuses changes from here on"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="auth", description=DESCRIPTION)
    # Entries from before are no part of any chain. No release ever wrote such.
    manager.add_raw(
        statements(
            "DELETE FROM auth_audit_logs",
            "CREATE UNIQUE INDEX auth_audit_logs_seq ON auth_audit_logs (seq)",
            "CREATE INDEX auth_audit_logs_of_person ON auth_audit_logs (user_id, seq)",
            f"INSERT INTO auth_audit_head (id, seq, hash) VALUES (1, 0, '{START}')",
        )
    )
    manager.add_raw(statements(*SQLITE_UP, dialect="sqlite"))
    manager.add_raw(statements(*POSTGRES_UP, dialect="postgresql"))
    manager.add_raw_backwards(statements(*SQLITE_DOWN, dialect="sqlite"))
    manager.add_raw_backwards(statements(*POSTGRES_DOWN, dialect="postgresql"))
    manager.add_raw_backwards(
        statements(
            "DROP INDEX auth_audit_logs_seq",
            "DROP INDEX auth_audit_logs_of_person",
            "DELETE FROM auth_audit_head",
        )
    )
    return manager
