"""What people hold: their roles, what these give, and whether there are grants on single resources for them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.auth_access import CannotGrant, NoSuchAccount
from orion_core.errors import Forbidden
from orion_core.permissions import covered
from orion_core.ports.database import Database
from orion_plugins.auth.audit import record
from orion_plugins.auth.tables import ERASED

ADMIN = "admin"
"""The built-in role of administrators, who may do everything."""
EVERYTHING = ("*",)

# Not EXISTS: where most grants are to one role PostgreSQL would read all of them to find none to another.
COLUMNS = """
    u.status, h.role, r.permissions,
    COALESCE(
        (SELECT 1 FROM auth_grants g WHERE g.user_id = u.id ORDER BY g.resource LIMIT 1),
        (SELECT 1 FROM auth_grants g WHERE g.role = h.role ORDER BY g.resource LIMIT 1)
    ) AS granted
"""
"""What `Holdings.of` reads of each row; one row for each role, and one where there is none."""
JOINS = """
LEFT JOIN auth_role_holders h ON h.user_id = u.id
LEFT JOIN auth_roles r ON r.name = h.role
"""
_ACCOUNT = f"SELECT u.id, u.email, u.created_at, {COLUMNS} FROM users u {JOINS} WHERE u.id = $1"


@attrs.frozen
class Holdings:
    """The roles of an account, the permissions they give together, and whether resource grants may matter."""

    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    granted: bool = False

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Self:
        """What the rows of one account say."""
        given: set[str] = set()
        for row in rows:
            if row["role"] is not None:
                given.update(EVERYTHING if row["role"] == ADMIN else json.loads(row["permissions"] or "[]"))
        roles = sorted(row["role"] for row in rows if row["role"] is not None)
        return cls(tuple(roles), tuple(sorted(given)), any(row["granted"] is not None for row in rows))


@attrs.frozen
class Holder:
    """An account with what it holds."""

    row: Mapping[str, Any]
    holdings: Holdings


async def holder(db: Database, user_id: UUID) -> Holder:
    """The account `user_id`; raises `NoSuchAccount` for one that is not there or was erased."""
    rows = await db.fetch(_ACCOUNT, user_id)
    if not rows or rows[0]["status"] == ERASED:
        raise NoSuchAccount("there is no account with this id")
    return Holder(rows[0], Holdings.of(rows))


def check_manager(permission: str) -> None:
    """Raise unless the caller holds `permission` and has signed in: API keys look after nobody's access."""
    actor = current().actor
    actor.require(permission)
    if actor.by_key:
        raise Forbidden("an API key cannot do this: sign in")


async def check_held(permissions: Collection[str], now: datetime, subject: UUID | None = None) -> None:
    """Raise `CannotGrant`, and record it, unless the caller holds all of `permissions`.

    To be asked before the transaction, which would take the record back.
    """
    actor = current().actor
    if actor.kind == "system":
        return
    lacking = sorted(each for each in permissions if not covered(actor.permissions, each))
    if lacking:
        await record("access_denied", now, outcome="failure", user_id=subject, reason="cannot_grant")
        raise CannotGrant(f"nobody gives or takes what they lack: you lack {', '.join(lacking)}")
