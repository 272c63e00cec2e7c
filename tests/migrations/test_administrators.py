"""Administrators from before roles were rows are administrators afterwards, and again when it is undone."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from test_up_and_down import PLUGINS, database

from orion_core.composition import migration_apps
from orion_core.migrate import down, up

ROLES_ARE_ROWS = "2026-11-25T23:05:00:000000"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_administrators_stay_administrators(kind: str, tmp_path: Path) -> None:
    """A56."""
    apps = migration_apps(PLUGINS["auth"])
    async with database(kind, tmp_path, "auth") as db:
        applied = await up(db, apps)
        since = [each for each in applied if each >= ROLES_ARE_ROWS]
        assert since
        await down(db, apps, steps=len(since))
        admin, person = uuid4(), uuid4()
        for user_id, roles in ((admin, '["admin"]'), (person, "[]")):
            await db.fetch(
                "INSERT INTO users "
                "(id, email, email_key, password_hash, roles, status, version, created_at, updated_at) VALUES "
                "($1, $2, $2, '', $3, 'active', 1, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)",
                user_id,
                f"{user_id}@x.org",
                roles,
            )

        for _ in range(2):
            await up(db, apps)
            held = await db.fetch("SELECT user_id, role FROM auth_role_holders")
            assert [(row["user_id"], row["role"]) for row in held] == [(admin, "admin")]
            await down(db, apps, steps=len(since))
            kept = await db.fetch("SELECT id, roles FROM users")
            assert {row["id"]: row["roles"] for row in kept} == {admin: '["admin"]', person: "[]"}
