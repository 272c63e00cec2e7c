"""Roles: what they give, and who holds them.

The row of a role is taken first by whoever changes it or gives it to somebody, then that of the account. The row of
`admin` is taken by everybody who could remove an administrator, so that two of them cannot remove each other.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core.contracts.auth import AccessChanged
from orion_core.contracts.auth_access import (
    HeldRoles,
    LastAdministrator,
    NewRole,
    NoSuchAccount,
    NoSuchRole,
    Role,
    RoleChange,
    RoleChanged,
    RoleList,
    RoleProtected,
    RoleTaken,
)
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.auth.audit import record
from orion_plugins.auth.holdings import ADMIN, EVERYTHING, check_held, check_manager, holder
from orion_plugins.auth.tables import ERASED, AuthGrant, AuthRole, AuthRoleHolder

MANAGE = "roles:manage"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_ADMINISTRATOR = Role(ADMIN, EVERYTHING, "everything", True)

_TAKE_ADMIN = """
INSERT INTO auth_roles (name, description, permissions, created_at, updated_at) VALUES ($1, '', '[]', $2, $2)
ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at
"""
_TAKE = "UPDATE auth_roles SET updated_at = $2 WHERE name = $1 RETURNING name"
_TAKE_ACCOUNT = "UPDATE users SET version = version WHERE id = $1 AND status <> $2 RETURNING id"
_ADMINISTRATORS = """
SELECT COUNT(*) AS many FROM auth_role_holders h JOIN users u ON u.id = h.user_id
WHERE h.role = 'admin' AND u.status = 'active'
"""
_UNASSIGN = "DELETE FROM auth_role_holders WHERE user_id = $1 AND role = $2 RETURNING id"


@attrs.frozen
class Roles:
    """The operations on roles."""

    db: Database
    events: Events
    clock: Clock

    async def every(self) -> RoleList:
        """See `Auth.roles`."""
        check_manager(MANAGE)
        rows = await AuthRole.select().where(AuthRole.name != ADMIN).order_by(AuthRole.name)
        return RoleList(tuple(sorted((_ADMINISTRATOR, *map(_role, rows)), key=lambda role: role.name)))

    async def get(self, name: str) -> Role:
        """See `Auth.role`."""
        check_manager(MANAGE)
        return await self.find(name)

    async def find(self, name: str) -> Role:
        """The role called `name`, whoever asks; raises `NoSuchRole`."""
        if name == ADMIN:
            return _ADMINISTRATOR
        row = await AuthRole.select().where(AuthRole.name == name).first() if _NAME.fullmatch(name) else None
        if row is None:
            raise NoSuchRole("there is no role with this name")
        return _role(row)

    async def create(self, data: NewRole) -> Role:
        """See `Auth.create_role`."""
        check_manager(MANAGE)
        now = self.clock.now()
        await check_held(data.permissions, now)
        row = AuthRole(
            name=data.name,
            description=data.description,
            permissions=_stored(data.permissions),
            created_at=now,
            updated_at=now,
        )
        async with self.db.transaction():
            made = AuthRole.insert(row).on_conflict(target=AuthRole.name, action="DO NOTHING")
            if data.name == ADMIN or not await made.returning(AuthRole.name):
                raise RoleTaken(f"there is a role {data.name}: change it, or choose another name")
            await record("role_created", now, reason=data.name)
        return _role(row.to_dict())

    async def change(self, name: str, data: RoleChange) -> Role:
        """See `Auth.change_role`."""
        before = await self._changeable(name)
        now = self.clock.now()
        await check_held({*before.permissions, *data.permissions}, now)
        async with self.db.transaction():
            changed = (
                await AuthRole.update(
                    {
                        AuthRole.permissions: _stored(data.permissions),
                        AuthRole.description: data.description,
                        AuthRole.updated_at: now,
                    }
                )
                .where(AuthRole.name == name)
                .returning(*AuthRole.all_columns())
            )
            if not changed:
                raise NoSuchRole("there is no role with this name")
            await record("role_changed", now, reason=name)
            await self.events.publish(RoleChanged(name))
        return _role(changed[0])

    async def delete(self, name: str) -> None:
        """See `Auth.delete_role`."""
        before = await self._changeable(name)
        now = self.clock.now()
        await check_held(before.permissions, now)
        async with self.db.transaction():
            await self.take(name, now)
            await AuthRoleHolder.delete().where(AuthRoleHolder.role == name)
            await AuthGrant.delete().where(AuthGrant.role == name)
            await AuthRole.delete().where(AuthRole.name == name)
            await record("role_deleted", now, reason=name)
            await self.events.publish(RoleChanged(name))

    async def held_by(self, user_id: UUID) -> HeldRoles:
        """See `Auth.roles_of`."""
        check_manager(MANAGE)
        found = (await holder(self.db, user_id)).holdings
        return HeldRoles(user_id, found.roles, found.permissions)

    async def assign(self, user_id: UUID, name: str) -> None:
        """See `Auth.assign_role`."""
        check_manager(MANAGE)
        now = self.clock.now()
        await check_held((await self.find(name)).permissions, now, user_id)
        async with self.db.transaction():
            await self.take(name, now)
            await self.take_account(user_id)
            await self.give(user_id, name, now)

    async def give(self, user_id: UUID, name: str, now: datetime) -> None:
        """Give somebody a role in the running transaction, whoever asks; no more if they hold it."""
        row = AuthRoleHolder(id=new_id(), user_id=user_id, role=name, created_at=now)
        if await AuthRoleHolder.insert(row).on_conflict(action="DO NOTHING").returning(AuthRoleHolder.id):
            await record("role_granted", now, user_id=user_id, reason=name)
            await self.events.publish(AccessChanged(user_id))

    async def unassign(self, user_id: UUID, name: str) -> None:
        """See `Auth.unassign_role`."""
        check_manager(MANAGE)
        now = self.clock.now()
        await check_held((await self.find(name)).permissions, now, user_id)
        async with self.db.transaction():
            await self.take(name, now)
            await self.take_account(user_id)
            if await self.db.fetch(_UNASSIGN, user_id, name):
                if name == ADMIN:
                    await self.check_administrators()
                await record("role_revoked", now, user_id=user_id, reason=name)
                await self.events.publish(AccessChanged(user_id))

    async def take(self, name: str, now: datetime) -> None:
        """Keep everybody else from changing or giving the role until the transaction ends; raises `NoSuchRole`."""
        if name == ADMIN:
            await self.db.fetch(_TAKE_ADMIN, name, now)
        elif not await self.db.fetch(_TAKE, name, now):
            raise NoSuchRole("there is no role with this name")

    async def take_account(self, user_id: UUID) -> None:
        """Keep everybody else from changing the account until the transaction ends; raises `NoSuchAccount`."""
        if not await self.db.fetch(_TAKE_ACCOUNT, user_id, ERASED):
            raise NoSuchAccount("there is no account with this id")

    async def check_administrators(self) -> None:
        """Raise `LastAdministrator` if nobody is left; asked after the removal, with the role `admin` taken before."""
        if not (await self.db.fetch(_ADMINISTRATORS))[0]["many"]:
            raise LastAdministrator("this is the last administrator: make another one first")

    async def _changeable(self, name: str) -> Role:
        check_manager(MANAGE)
        if name == ADMIN:
            raise RoleProtected(f"the role {ADMIN} is built in: it cannot be changed or removed")
        return await self.find(name)


def _role(row: dict[str, Any]) -> Role:
    return Role(row["name"], tuple(json.loads(row["permissions"])), row["description"], False)


def _stored(permissions: tuple[str, ...]) -> str:
    return json.dumps(sorted(set(permissions)))
