from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-25T23:05:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "administrators hold a role; what is there once"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="auth", description=DESCRIPTION)
    manager.add_raw(
        statements(
            "CREATE UNIQUE INDEX auth_role_holders_once ON auth_role_holders (user_id, role)",
            # Of each pair of indexes one holds nulls, which are never equal.
            "CREATE UNIQUE INDEX auth_grants_of_person ON auth_grants (user_id, resource, permission, effect)",
            "CREATE UNIQUE INDEX auth_grants_of_role ON auth_grants (role, resource, permission, effect)",
            # No other role could be held before.
            """
            INSERT INTO auth_role_holders (id, user_id, role, created_at)
            SELECT id, id, 'admin', updated_at FROM users WHERE roles LIKE '%"admin"%'
            """,
        )
    )
    manager.add_raw_backwards(
        statements(
            """
            UPDATE users SET roles = '["admin"]'
            WHERE id IN (SELECT user_id FROM auth_role_holders WHERE role = 'admin')
            """,
            "DELETE FROM auth_role_holders WHERE role = 'admin'",
            "DROP INDEX auth_grants_of_role",
            "DROP INDEX auth_grants_of_person",
            "DROP INDEX auth_role_holders_once",
        )
    )
    return manager
