"""The part of the service that says who may do what: each operation kept by one class."""

from __future__ import annotations

from typing import Self
from uuid import UUID

import attrs

from orion_core.contracts.auth_access import (
    AccessOperations,
    AccountDetails,
    Answer,
    HeldRoles,
    NewResourceGrant,
    NewRole,
    Question,
    ResourceGrant,
    ResourceGrantPage,
    Role,
    RoleChange,
    RoleList,
)
from orion_core.contracts.auth_api_keys import ApiKeyList, ApiKeyOperations, IssuedApiKey, KeyAccess, NewApiKey
from orion_core.events import Events
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.auth.administration import Administration, EndSessions
from orion_plugins.auth.api_keys import ApiKeys
from orion_plugins.auth.grants import Grants
from orion_plugins.auth.roles import Roles
from orion_plugins.auth.settings import AuthSettings


@attrs.frozen
class AccessParts:
    """What the operations are kept by."""

    roles: Roles
    grants: Grants
    api_keys: ApiKeys
    administration: Administration

    @classmethod
    def of(cls, db: Database, events: Events, clock: Clock, settings: AuthSettings, end_sessions: EndSessions) -> Self:
        """All of them, on one database."""
        roles = Roles(db, events, clock)
        return cls(
            roles,
            Grants(db, events, clock, roles),
            ApiKeys(db, events, clock, settings, roles),
            Administration(db, events, clock, roles, end_sessions),
        )


class AccessService(AccessOperations, ApiKeyOperations):
    """Hands each operation to its part."""

    _access: AccessParts

    async def roles(self) -> RoleList:
        return await self._access.roles.every()

    async def role(self, name: str) -> Role:
        return await self._access.roles.get(name)

    async def create_role(self, data: NewRole) -> Role:
        return await self._access.roles.create(data)

    async def change_role(self, name: str, data: RoleChange) -> Role:
        return await self._access.roles.change(name, data)

    async def delete_role(self, name: str) -> None:
        await self._access.roles.delete(name)

    async def roles_of(self, user_id: UUID) -> HeldRoles:
        return await self._access.roles.held_by(user_id)

    async def assign_role(self, user_id: UUID, role: str) -> None:
        await self._access.roles.assign(user_id, role)

    async def unassign_role(self, user_id: UUID, role: str) -> None:
        await self._access.roles.unassign(user_id, role)

    async def grants(self, user_id: UUID | None, role: str, cursor: str, limit: int) -> ResourceGrantPage:
        return await self._access.grants.page(user_id, role, cursor, limit)

    async def grant(self, data: NewResourceGrant) -> ResourceGrant:
        return await self._access.grants.give(data)

    async def revoke_grant(self, grant_id: UUID) -> None:
        await self._access.grants.revoke(grant_id)

    async def decide(self, question: Question) -> Answer:
        return await self._access.grants.decide(question)

    async def create_api_key(self, data: NewApiKey) -> IssuedApiKey:
        return await self._access.api_keys.create(data)

    async def api_keys(self) -> ApiKeyList:
        return await self._access.api_keys.mine()

    async def revoke_api_key(self, key_id: UUID) -> None:
        await self._access.api_keys.revoke(key_id)

    async def key_access(self, fingerprint: str) -> KeyAccess:
        return await self._access.api_keys.access(fingerprint)

    async def account(self, user_id: UUID) -> AccountDetails:
        return await self._access.administration.account(user_id)

    async def account_by_email(self, email: str) -> AccountDetails:
        return await self._access.administration.account_by_email(email)

    async def disable_account(self, user_id: UUID) -> None:
        await self._access.administration.disable(user_id)

    async def enable_account(self, user_id: UUID) -> None:
        await self._access.administration.enable(user_id)
