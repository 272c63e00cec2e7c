"""Roles, grants on resources, and accounts: ``/api/v1/auth/admin``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_201_CREATED, HTTP_204_NO_CONTENT

from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_access import (
    AccountDetails,
    HeldRoles,
    NewResourceGrant,
    NewRole,
    ResourceGrant,
    ResourceGrantPage,
    Role,
    RoleChange,
    RoleList,
)
from orion_core.web import Cursor, Limit, needs

_ROLES = needs("roles:manage")
_GRANTS = needs("grants:manage")
_ACCOUNTS = needs("accounts:manage")


class RoleRoutes(Controller):
    """Roles and who holds them."""

    path = "/api/v1/auth/admin"
    tags = ("auth",)

    @get("/roles", opt=_ROLES, operation_id="auth_roles", summary="List roles")
    async def every(self, auth: NamedDependency[Auth]) -> RoleList:
        """All of them, by name; `admin` is built in."""
        return await auth.roles()

    @post("/roles", opt=_ROLES, status_code=HTTP_201_CREATED, operation_id="auth_create_role", summary="Make a role")
    async def create(self, auth: NamedDependency[Auth], data: JSONBody[NewRole]) -> Role:
        """You have to hold all that it gives: else 403 `auth.cannot_grant`."""
        return await auth.create_role(data)

    @get("/roles/{name:str}", opt=_ROLES, operation_id="auth_role", summary="Read a role")
    async def one(self, auth: NamedDependency[Auth], name: FromPath[str]) -> Role:
        """What it gives."""
        return await auth.role(name)

    @put("/roles/{name:str}", opt=_ROLES, operation_id="auth_change_role", summary="Change a role")
    async def change(self, auth: NamedDependency[Auth], name: FromPath[str], data: JSONBody[RoleChange]) -> Role:
        """Counts for everybody who holds it within a second. Of `admin`: 409 `auth.role_protected`."""
        return await auth.change_role(name, data)

    @delete(
        "/roles/{name:str}",
        opt=_ROLES,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_delete_role",
        summary="Remove a role",
    )
    async def remove(self, auth: NamedDependency[Auth], name: FromPath[str]) -> None:
        """From everybody who holds it, and with the grants to it."""
        await auth.delete_role(name)

    @get("/users/{user_id:uuid}/roles", opt=_ROLES, operation_id="auth_roles_of", summary="Read somebody's roles")
    async def held(self, auth: NamedDependency[Auth], user_id: FromPath[UUID]) -> HeldRoles:
        """With the permissions that they give together."""
        return await auth.roles_of(user_id)

    @put(
        "/users/{user_id:uuid}/roles/{role:str}",
        opt=_ROLES,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_assign_role",
        summary="Give somebody a role",
    )
    async def assign(self, auth: NamedDependency[Auth], user_id: FromPath[UUID], role: FromPath[str]) -> None:
        """You have to hold all that it gives: else 403 `auth.cannot_grant`."""
        await auth.assign_role(user_id, role)

    @delete(
        "/users/{user_id:uuid}/roles/{role:str}",
        opt=_ROLES,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_unassign_role",
        summary="Take a role from somebody",
    )
    async def unassign(self, auth: NamedDependency[Auth], user_id: FromPath[UUID], role: FromPath[str]) -> None:
        """The last administrator stays one: 409 `auth.last_administrator`."""
        await auth.unassign_role(user_id, role)


class GrantRoutes(Controller):
    """What single people and roles may do to single resources."""

    path = "/api/v1/auth/admin/grants"
    tags = ("auth",)

    @get("/", opt=_GRANTS, operation_id="auth_grants", summary="List grants")
    async def page(
        self,
        auth: NamedDependency[Auth],
        user_id: Annotated[UUID | None, QueryParameter(description="only those to this person")] = None,
        role: Annotated[str, QueryParameter(description="only those to this role")] = "",
        cursor: Cursor = "",
        limit: Limit = 50,
    ) -> ResourceGrantPage:
        """In the order in which they were given."""
        return await auth.grants(user_id, role, cursor, limit)

    @post("/", opt=_GRANTS, status_code=HTTP_201_CREATED, operation_id="auth_grant", summary="Allow or deny something")
    async def give(self, auth: NamedDependency[Auth], data: JSONBody[NewResourceGrant]) -> ResourceGrant:
        """To a person or a role, on one resource or all of a kind. The same once more changes nothing."""
        return await auth.grant(data)

    @delete(
        "/{grant_id:uuid}",
        opt=_GRANTS,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_revoke_grant",
        summary="Take a grant back",
    )
    async def revoke(self, auth: NamedDependency[Auth], grant_id: FromPath[UUID]) -> None:
        """Counts within a second."""
        await auth.revoke_grant(grant_id)


class AccountRoutes(Controller):
    """Accounts of others."""

    path = "/api/v1/auth/admin/users"
    tags = ("auth",)

    @get("/{user_id:uuid}", opt=_ACCOUNTS, operation_id="auth_account", summary="Read an account")
    async def account(self, auth: NamedDependency[Auth], user_id: FromPath[UUID]) -> AccountDetails:
        """It is recorded who read it."""
        return await auth.account(user_id)

    @post(
        "/{user_id:uuid}/disable",
        opt=_ACCOUNTS,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_disable_account",
        summary="Close an account",
    )
    async def disable(self, auth: NamedDependency[Auth], user_id: FromPath[UUID]) -> None:
        """Its sessions end, its API keys count no more, and nobody signs in until it is enabled."""
        await auth.disable_account(user_id)

    @post(
        "/{user_id:uuid}/enable",
        opt=_ACCOUNTS,
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_enable_account",
        summary="Open a disabled account again",
    )
    async def enable(self, auth: NamedDependency[Auth], user_id: FromPath[UUID]) -> None:
        """Its sessions stay ended; its API keys count again."""
        await auth.enable_account(user_id)
