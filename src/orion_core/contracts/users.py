"""The people of the platform: their profiles."""

from __future__ import annotations

import abc
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.errors import NotFound
from orion_core.events import event
from orion_core.validators import is_plain, max_len
from orion_core.value import value


@value
class Profile:
    """One person. `version` counts the changes; `avatar_url` is empty without an avatar."""

    user_id: UUID
    email: str
    name: str
    first_name: str
    last_name: str
    bio: str
    avatar_url: str
    locale: str
    time_zone: str
    version: int
    created_at: datetime
    updated_at: datetime


@value
class ProfileChange:
    """What to change of a profile: None leaves a field as it is, an empty text clears it (U5)."""

    name: str | None = attrs.field(default=None, validator=[max_len(200), is_plain])
    first_name: str | None = attrs.field(default=None, validator=[max_len(100), is_plain])
    last_name: str | None = attrs.field(default=None, validator=[max_len(100), is_plain])
    bio: str | None = attrs.field(default=None, validator=max_len(2000))
    locale: str | None = attrs.field(default=None, validator=max_len(35))
    time_zone: str | None = attrs.field(default=None, validator=max_len(64))


class NoSuchPerson(NotFound):
    """There is no profile with this id, or none the caller may see."""

    code = "users.not_found"


class ProfilePending(NotFound):
    """The caller's profile has not arrived yet: ask again after `retry_after` seconds (U3)."""

    code = "users.profile_pending"


@event("user.profile_changed", version=1, subject="user_id")
class ProfileChanged:
    """A person's profile is now as it says."""

    user_id: UUID
    name: str
    first_name: str
    last_name: str
    bio: str
    version: int
    changed: tuple[str, ...]


class Users(Contract, name="users"):
    """The people of the platform: their profiles."""

    @raises(NoSuchPerson)
    @repeatable
    @abc.abstractmethod
    async def get(self, user_id: UUID) -> Profile:
        """The profile of one person; others than the person need `users:read`."""

    @raises(ProfilePending)
    @repeatable
    @abc.abstractmethod
    async def me(self) -> Profile:
        """The caller's own profile."""

    @raises(ProfilePending)
    @abc.abstractmethod
    async def change_me(self, change: ProfileChange) -> Profile:
        """Change the caller's own profile and answer it."""
