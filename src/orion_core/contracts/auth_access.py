"""Who may do what: roles, grants on single resources, decisions, and the state of accounts. A part of `Auth`."""

from __future__ import annotations

import abc
from datetime import datetime
from typing import Literal
from uuid import UUID

import attrs

from orion_core.contract import raises, repeatable
from orion_core.errors import Conflict, Forbidden, NotFound
from orion_core.events import event
from orion_core.validators import each, is_plain, matches, max_len
from orion_core.values import invalid, value

MOST_ASKED = 500
"""How many resources one question may name."""

_PERMISSION = r"[a-z][a-z0-9_-]{0,30}:[a-z][a-z0-9_.-]{0,30}"
_PATTERN = rf"\*|[a-z][a-z0-9_-]{{0,30}}:\*|{_PERMISSION}"
_RESOURCE = r"[a-z][a-z0-9_-]{0,30}:[^\s*\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,160}"

is_permission = matches(_PERMISSION, "must be resource:action like invoices:read")
is_permission_pattern = matches(
    _PATTERN, "must be resource:action like invoices:read, with * only at the end: invoices:* or *"
)
is_resource = matches(_RESOURCE, "must be kind:id like invoice:42")
is_resource_pattern = matches(
    rf"{_RESOURCE}|[a-z][a-z0-9_-]{{0,30}}:\*", "must be kind:id like invoice:42, or kind:* for all of a kind"
)
is_role = matches(r"[a-z][a-z0-9_-]{0,62}", "must be 1 to 63 of a-z, 0-9, _ and -, a letter first")


@value
class NewRole:
    """A role to be made: what people who hold it may do, as permissions ``resource:action`` or ``resource:*``."""

    name: str = attrs.field(validator=is_role)
    permissions: tuple[str, ...] = attrs.field(validator=each(is_permission_pattern, most=200))
    description: str = attrs.field(default="", validator=[max_len(200), is_plain])


@value
class RoleChange:
    """What a role is from now on."""

    permissions: tuple[str, ...] = attrs.field(validator=each(is_permission_pattern, most=200))
    description: str = attrs.field(default="", validator=[max_len(200), is_plain])


@value
class Role:
    """A role. One that is `built_in` cannot be changed or removed."""

    name: str
    permissions: tuple[str, ...]
    description: str
    built_in: bool


@value
class RoleList:
    """All roles, by name."""

    items: tuple[Role, ...]


@value
class HeldRoles:
    """The roles of an account, by name, and the permissions that they give together."""

    user_id: UUID
    roles: tuple[str, ...]
    permissions: tuple[str, ...]


@value
class NewResourceGrant:
    """What a person or everybody with a role is allowed, or denied, to do to one resource or to all of a kind.

    Exactly one of `user_id` and `role` is given. A grant that denies overrides every other.
    """

    permission: str = attrs.field(validator=is_permission_pattern)
    resource: str = attrs.field(validator=is_resource_pattern)
    user_id: UUID | None = None
    role: str = attrs.field(default="", validator=max_len(63))
    effect: Literal["allow", "deny"] = "allow"

    def __attrs_post_init__(self) -> None:
        if (self.user_id is None) == (not self.role):
            raise invalid("user_id", "subject", "give either user_id or role")


@value
class ResourceGrant:
    """A grant on a resource, and who gave it."""

    id: UUID
    permission: str
    resource: str
    user_id: UUID | None
    role: str
    effect: Literal["allow", "deny"]
    granted_by: str
    granted_at: datetime


@value
class ResourceGrantPage:
    """Grants in the order in which they were given."""

    items: tuple[ResourceGrant, ...]
    next_cursor: str


@value
class Question:
    """May the caller do `permission` to `resources`? `owned` are those of them that belong to the caller.

    `attempt` says that the caller is about to do it, so that a denial goes into the audit log. Without resources it is
    about the permission alone.
    """

    permission: str = attrs.field(validator=is_permission)
    resources: tuple[str, ...] = attrs.field(default=(), validator=each(is_resource, most=MOST_ASKED))
    owned: tuple[str, ...] = attrs.field(default=(), validator=each(is_resource, most=MOST_ASKED))
    attempt: bool = False


@value
class Answer:
    """The decision about each resource, in the order of the question, with the id of its reason."""

    allowed: tuple[bool, ...]
    reasons: tuple[str, ...]


@value
class AccountDetails:
    """An account as those see it who look after accounts."""

    id: UUID
    email: str
    status: str
    roles: tuple[str, ...]
    created_at: datetime


class NoSuchRole(NotFound):
    """There is no role with this name."""

    code = "auth.no_such_role"


class RoleTaken(Conflict):
    """There is a role with this name."""

    code = "auth.role_taken"


class RoleProtected(Conflict):
    """A built-in role cannot be changed or removed."""

    code = "auth.role_protected"


class LastAdministrator(Conflict):
    """Without this account nobody would be an administrator."""

    code = "auth.last_administrator"


class CannotGrant(Forbidden):
    """Nobody gives to others, or takes from them, what they may not do themselves."""

    code = "auth.cannot_grant"


class NoSuchGrant(NotFound):
    """There is no grant with this id."""

    code = "auth.no_such_grant"


class NoSuchAccount(NotFound):
    """There is no account with this id or address."""

    code = "auth.no_such_account"


@event("auth.role_changed", version=1, subject="role")
class RoleChanged:
    """A role or the grants to it changed: what was cached about those who hold it counts no more."""

    role: str


@event("auth.account_disabled", version=1, subject="user_id")
class AccountDisabled:
    """An account was closed by an administrator: its owner cannot sign in, and all sessions have ended."""

    user_id: UUID
    disabled_at: datetime


@event("auth.account_enabled", version=1, subject="user_id")
class AccountEnabled:
    """An account that was disabled is open again."""

    user_id: UUID
    enabled_at: datetime


class AccessOperations(abc.ABC):
    """Roles, grants, decisions, and the state of accounts."""

    @repeatable
    @abc.abstractmethod
    async def roles(self) -> RoleList:
        """All roles; needs `roles:manage`, as all about roles does."""

    @raises(NoSuchRole)
    @repeatable
    @abc.abstractmethod
    async def role(self, name: str) -> Role:
        """One role."""

    @raises(RoleTaken, CannotGrant)
    @abc.abstractmethod
    async def create_role(self, data: NewRole) -> Role:
        """Make a role. The caller has to hold all that it gives."""

    @raises(NoSuchRole, RoleProtected, CannotGrant)
    @repeatable
    @abc.abstractmethod
    async def change_role(self, name: str, data: RoleChange) -> Role:
        """Change what a role gives. The caller has to hold all that it gave and will give."""

    @raises(NoSuchRole, RoleProtected, CannotGrant)
    @abc.abstractmethod
    async def delete_role(self, name: str) -> None:
        """Remove a role, from people and with the grants to it too."""

    @raises(NoSuchAccount)
    @repeatable
    @abc.abstractmethod
    async def roles_of(self, user_id: UUID) -> HeldRoles:
        """The roles of an account."""

    @raises(NoSuchAccount, NoSuchRole, CannotGrant)
    @repeatable
    @abc.abstractmethod
    async def assign_role(self, user_id: UUID, role: str) -> None:
        """Give somebody a role. The caller has to hold all that it gives."""

    @raises(NoSuchAccount, NoSuchRole, CannotGrant, LastAdministrator)
    @repeatable
    @abc.abstractmethod
    async def unassign_role(self, user_id: UUID, role: str) -> None:
        """Take a role from somebody. The caller has to hold all that it gives; the last administrator keeps it."""

    @repeatable
    @abc.abstractmethod
    async def grants(self, user_id: UUID | None, role: str, cursor: str, limit: int) -> ResourceGrantPage:
        """Grants to a person, to a role, or all; needs `grants:manage`, as all about grants does.

        Raises `Malformed` for a cursor that is none.
        """

    @raises(NoSuchAccount, NoSuchRole, CannotGrant)
    @repeatable
    @abc.abstractmethod
    async def grant(self, data: NewResourceGrant) -> ResourceGrant:
        """Allow or deny something on a resource; the same grant once more changes nothing.

        The caller has to hold its permission.
        """

    @raises(NoSuchGrant, CannotGrant)
    @abc.abstractmethod
    async def revoke_grant(self, grant_id: UUID) -> None:
        """Take a grant back. The caller has to hold its permission."""

    @repeatable
    @abc.abstractmethod
    async def decide(self, question: Question) -> Answer:
        """Whether the caller may do something to resources; the port `Authorization` asks it where grants matter."""

    @raises(NoSuchAccount)
    @repeatable
    @abc.abstractmethod
    async def account(self, user_id: UUID) -> AccountDetails:
        """An account; needs `accounts:manage`, as all about accounts of others does. It is recorded who read it."""

    @raises(NoSuchAccount)
    @repeatable
    @abc.abstractmethod
    async def account_by_email(self, email: str) -> AccountDetails:
        """The account with an address."""

    @raises(NoSuchAccount, CannotGrant, LastAdministrator)
    @repeatable
    @abc.abstractmethod
    async def disable_account(self, user_id: UUID) -> None:
        """Close an account until it is enabled again: its sessions end and its API keys count no more.

        The caller has to hold all that the account may do.
        """

    @raises(NoSuchAccount, CannotGrant)
    @repeatable
    @abc.abstractmethod
    async def enable_account(self, user_id: UUID) -> None:
        """Open a disabled account again. The caller has to hold all that the account may do."""
