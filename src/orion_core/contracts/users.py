"""The people of the platform: their profiles."""

from __future__ import annotations

import abc
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.errors import NotFound
from orion_core.events import event
from orion_core.validators import is_plain, matches, max_len
from orion_core.values import value

_is_text = matches(
    r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]*",
    "must not contain control characters other than tabs and line breaks",
)
_is_language_tag = matches(r"(?:[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*)?", "must be a language tag like de-AT (RFC 5646)")
_is_time_zone = matches(
    r"(?:[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)?", "must be the name of a time zone like Europe/Vienna"
)


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
    """What to change of a profile: None leaves a field as it is, an empty text clears it (U5).

    The service trims texts and stores them in NFC (U9). `bio` may have several lines.
    """

    name: str | None = attrs.field(default=None, validator=[max_len(200), is_plain])
    first_name: str | None = attrs.field(default=None, validator=[max_len(100), is_plain])
    last_name: str | None = attrs.field(default=None, validator=[max_len(100), is_plain])
    bio: str | None = attrs.field(default=None, validator=[max_len(2000), _is_text])
    locale: str | None = attrs.field(default=None, validator=[max_len(35), _is_language_tag])
    time_zone: str | None = attrs.field(default=None, validator=[max_len(64), _is_time_zone])


class NoSuchPerson(NotFound):
    """There is no profile with this id, or none the caller may see."""

    code = "users.not_found"


class ProfilePending(NotFound):
    """The caller's profile has not arrived yet: ask again after `retry_after` seconds (U3)."""

    code = "users.profile_pending"


@event("user.profile_changed", version=1, subject="user_id")
class ProfileChanged:
    """A person's profile is now as it says; `changed` names the fields that were different before."""

    user_id: UUID
    name: str
    first_name: str
    last_name: str
    bio: str
    version: int
    changed: tuple[str, ...]


@event("user.avatar_changed", version=1, subject="user_id")
class AvatarChanged:
    """A person has another avatar, or none: `picture_id` is in use from now on and `replaced_id` no more."""

    user_id: UUID
    picture_id: UUID | None
    replaced_id: UUID | None


@event("user.erased", version=1, subject="user_id")
class UserErased:
    """A person is to be forgotten: every service removes what it knows of them."""

    user_id: UUID
    erased_at: datetime


class Users(Contract, name="users"):
    """The people of the platform: their profiles."""

    @raises(NoSuchPerson)
    @repeatable
    @abc.abstractmethod
    async def get(self, user_id: UUID) -> Profile:
        """The profile of one person; others than the person need `users:read`, or it is as if there were none."""

    @raises(ProfilePending)
    @repeatable
    @abc.abstractmethod
    async def me(self) -> Profile:
        """The caller's own profile."""

    @raises(ProfilePending)
    @abc.abstractmethod
    async def change_me(self, change: ProfileChange, expected_version: int | None = None) -> Profile:
        """Change the caller's own profile and answer it as it is then.

        Fields that are None keep what others write meanwhile. What is as asked already changes nothing, the version
        included. Raises `PreconditionFailed` unless the profile still has `expected_version`, where that is given.
        """
