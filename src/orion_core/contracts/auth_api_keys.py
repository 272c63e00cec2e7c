"""API keys: how machines ask in the name of a person. A part of `Auth`."""

from __future__ import annotations

import abc
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core.contract import raises, repeatable
from orion_core.contracts.auth_access import is_permission_pattern
from orion_core.errors import Conflict, Invalid, NotFound
from orion_core.events import event
from orion_core.validators import between, each, is_plain, length
from orion_core.values import value

_is_name: list[Any] = [length(1, 100), is_plain]


@value
class NewApiKey:
    """A key to be made: what it is called, what it is limited to, and how many days it lives.

    `scopes` are permissions that its owner holds, and ``own:read`` and ``own:write`` for what belongs to the owner.
    """

    name: str = attrs.field(validator=_is_name)
    expires_in_days: int = attrs.field(validator=between(1, 3650))
    scopes: tuple[str, ...] = attrs.field(default=(), validator=each(is_permission_pattern, most=100))


@value
class ApiKey:
    """An API key as its owner sees it; `hint` is how it begins, `last_used_at` is exact to the hour."""

    id: UUID
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


@value
class ApiKeyList:
    """The caller's keys that were not revoked, oldest first; among them those that have expired."""

    items: tuple[ApiKey, ...]


@value
class IssuedApiKey:
    """A new key with its secret, which is shown this once."""

    key: ApiKey
    secret: str = attrs.field(repr=False)


@value
class KeyAccess:
    """What an API key may do now. `active` is false if it counts no more."""

    active: bool
    key_id: UUID | None = None
    user_id: UUID | None = None
    expires_at: datetime | None = None
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    granted: bool = False


class NoSuchApiKey(NotFound):
    """The caller has no API key with this id."""

    code = "auth.no_such_api_key"


class TooManyApiKeys(Conflict):
    """The caller has as many API keys as anybody may have."""

    code = "auth.too_many_api_keys"


class ScopeNotHeld(Invalid):
    """A scope of an API key that its owner does not hold."""

    code = "auth.scope_not_held"


@event("auth.api_key_created", version=1, subject="key_id")
class ApiKeyCreated:
    """Somebody made an API key."""

    key_id: UUID
    user_id: UUID
    name: str
    expires_at: datetime


@event("auth.api_key_revoked", version=1, subject="key_id")
class ApiKeyRevoked:
    """An API key was revoked: it counts no more."""

    key_id: UUID
    user_id: UUID


class ApiKeyOperations(abc.ABC):
    """API keys of the caller."""

    @raises(ScopeNotHeld, TooManyApiKeys)
    @abc.abstractmethod
    async def create_api_key(self, data: NewApiKey) -> IssuedApiKey:
        """Make an API key of the caller, who has signed in: a key makes no keys."""

    @repeatable
    @abc.abstractmethod
    async def api_keys(self) -> ApiKeyList:
        """The caller's API keys."""

    @raises(NoSuchApiKey)
    @abc.abstractmethod
    async def revoke_api_key(self, key_id: UUID) -> None:
        """Revoke an API key of the caller."""

    @repeatable
    @abc.abstractmethod
    async def key_access(self, fingerprint: str) -> KeyAccess:
        """What the API key with this SHA-256 (in hexadecimal) may do now; for services."""
