"""The people of the platform: their profiles, preferences and activity, and who read about them."""

from __future__ import annotations

import abc
from datetime import datetime
from typing import Literal
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.contracts.storage import BrokenPicture, NotAPicture, PicturesBusy, PictureTooLarge
from orion_core.errors import Conflict, NotFound, TooLarge, Unavailable
from orion_core.events import event
from orion_core.json_value import Json
from orion_core.validators import between, is_plain, length, matches, max_len
from orion_core.values import value

_is_text = matches(
    r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]*",
    "must not contain control characters other than tabs and line breaks",
)
_is_language_tag = matches(r"(?:[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*)?", "must be a language tag like de-AT (RFC 5646)")
_is_time_zone = matches(
    r"(?:[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)?", "must be the name of a time zone like Europe/Vienna"
)
_is_key = matches(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*", "must be a dotted name like editor.font_size")

PreferenceType = Literal["string", "integer", "number", "boolean", "timestamp", "json"]
"""What a preference can be."""
MOST_FOUND = 500
"""How many people one `find` may ask for."""


@value
class Profile:
    """One person. `version` counts the changes; `avatar_url` is empty without an avatar."""

    id: UUID
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


@value
class NewProfile:
    """A profile made by hand for the account `user_id`; `email` is a copy that the account's news correct."""

    user_id: UUID
    email: str = attrs.field(default="", validator=[max_len(254), is_plain])
    name: str = attrs.field(default="", validator=[max_len(200), is_plain])
    first_name: str = attrs.field(default="", validator=[max_len(100), is_plain])
    last_name: str = attrs.field(default="", validator=[max_len(100), is_plain])
    bio: str = attrs.field(default="", validator=[max_len(2000), _is_text])
    locale: str = attrs.field(default="", validator=[max_len(35), _is_language_tag])
    time_zone: str = attrs.field(default="", validator=[max_len(64), _is_time_zone])


@value
class PublicProfile:
    """What anybody who is signed in may see of a person where the deployment allows it."""

    user_id: UUID
    name: str
    avatar_url: str


@value
class People:
    """The people found, in the order asked, and the ids of those there are none of for the caller."""

    items: tuple[Profile, ...]
    missing: tuple[UUID, ...]


@value
class PeopleQuery:
    """One page of people, oldest first. `email` and `name` are beginnings, compared without letter case."""

    cursor: str = attrs.field(default="", validator=max_len(1000))
    limit: int = attrs.field(default=50, validator=between(1, 200))
    email: str = attrs.field(default="", validator=[max_len(254), is_plain])
    name: str = attrs.field(default="", validator=[max_len(200), is_plain])


@value
class ProfilePage:
    """People; `next_cursor` is None on the last page."""

    items: tuple[Profile, ...]
    next_cursor: str | None


@value
class DocumentPage:
    """Profiles as the search service keeps them; `next_cursor` is None on the last page."""

    documents: tuple[Json, ...]
    next_cursor: str | None


@value
class Preference:
    """One preference of a person. A `default` one is declared by a plugin and not set: it has version 0 and no time."""

    key: str
    value: Json
    type: PreferenceType
    version: int
    default: bool
    updated_at: datetime | None


@value
class PreferenceChange:
    """A preference to set, or with `remove` to take back to its default.

    Without a `type` it is the declared one, else the one the value has in JSON. With `expected_version` the change is
    made only if the key still has that version; 0 stands for a key that is not set.
    """

    key: str = attrs.field(validator=attrs.validators.and_(length(1, 128), _is_key))
    value: Json = Json("null")
    type: PreferenceType | None = None
    remove: bool = False
    expected_version: int | None = None


@value
class Activity:
    """Something a person did, or that happened to them. `action` is a dotted name, `metadata` a JSON object.

    `actor` is who did it, as ``user:<id>`` or ``service:<name>``; the address and agent are known for what was done
    over HTTP.
    """

    id: UUID
    user_id: UUID
    action: str
    metadata: Json
    timestamp: datetime
    actor: str
    ip_address: str
    user_agent: str
    correlation_id: str


@value
class ActivityPage:
    """Activity, newest first; `next_cursor` is None on the last page."""

    items: tuple[Activity, ...]
    next_cursor: str | None


@value
class Reading:
    """Somebody read personal fields of a person: `actor` is who, `purpose` the operation that gave them."""

    id: UUID
    actor: str
    fields: tuple[str, ...]
    purpose: str
    correlation_id: str
    at: datetime


@value
class ReadingPage:
    """Readings, newest first; `next_cursor` is None on the last page."""

    items: tuple[Reading, ...]
    next_cursor: str | None


class NoSuchPerson(NotFound):
    """There is no profile with this id, or none the caller may see."""

    code = "users.not_found"


class ProfilePending(NotFound):
    """The caller's profile has not arrived yet: ask again after `retry_after` seconds (U3)."""

    code = "users.profile_pending"


class ProfileExists(Conflict):
    """The account has a profile already, or had one until the person was erased."""

    code = "users.profile_exists"


class NoSuchPreference(NotFound):
    """The person has not set this key, and no plugin declares it."""

    code = "users.no_such_preference"


class PreferencesTooLarge(TooLarge):
    """A value above 8 KiB, or more than 64 KiB or 500 keys of one person."""

    code = "users.preferences_too_large"


class AccessLogUnavailable(Unavailable):
    """The reading cannot be recorded, so nothing is shown."""

    code = "users.access_log_unavailable"


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


@value
class ChangedPreference:
    """A preference that changed: `value` is null for one that was `removed`, and for a `private` one."""

    key: str
    type: PreferenceType
    value: Json
    removed: bool
    private: bool


@event("user.preferences_changed", version=1, subject="user_id")
class PreferencesChanged:
    """A person has other preferences."""

    user_id: UUID
    changes: tuple[ChangedPreference, ...]


@event("user.erased", version=1, subject="user_id")
class UserErased:
    """A person is to be forgotten: every service removes what it knows of them."""

    user_id: UUID
    erased_at: datetime


class Users(Contract, name="users"):
    """The people of the platform: their profiles, preferences and activity, and who read about them.

    A person reads and changes their own. Others need `users:read`, without which it is as if the person did not exist,
    and `users:create`, `users:write` or `users:delete`. Every reading of another's personal fields is recorded before
    the answer leaves, and `AccessLogUnavailable` is raised where that fails.
    """

    @raises(NoSuchPerson, AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def get(self, user_id: UUID) -> Profile:
        """The profile of one person."""

    @raises(AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def find(self, ids: tuple[UUID, ...]) -> People:
        """The profiles of up to 500 people in one call."""

    @raises(AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def search(self, query: PeopleQuery) -> ProfilePage:
        """One page of the people the caller may see; raises `Malformed` for a cursor that is none."""

    @raises(NoSuchPerson, AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def public(self, user_id: UUID) -> PublicProfile:
        """What everybody who is signed in may see of a person, if the deployment shows people to each other."""

    @raises(NoSuchPerson, ProfilePending)
    @repeatable
    @abc.abstractmethod
    async def me(self) -> Profile:
        """The caller's own profile."""

    @raises(ProfileExists)
    @abc.abstractmethod
    async def create(self, profile: NewProfile) -> Profile:
        """Make a profile by hand."""

    @raises(NoSuchPerson, ProfilePending)
    @abc.abstractmethod
    async def change_me(self, change: ProfileChange, expected_version: int | None = None) -> Profile:
        """Change the caller's own profile and answer it as it is then.

        Fields that are None keep what others write meanwhile. What is as asked already changes nothing, the version
        included. Raises `PreconditionFailed` unless the profile still has `expected_version`, where that is given.
        """

    @raises(NoSuchPerson, ProfilePending, AccessLogUnavailable)
    @abc.abstractmethod
    async def change(self, user_id: UUID, change: ProfileChange, expected_version: int | None = None) -> Profile:
        """Change anybody's profile, as `change_me` does."""

    @raises(NoSuchPerson)
    @repeatable
    @abc.abstractmethod
    async def erase(self, user_id: UUID) -> None:
        """Forget a person here, and tell every service to do the same: `user.erased`. Twice is as once."""

    @raises(NoSuchPerson, ProfilePending, NotAPicture, PictureTooLarge, BrokenPicture, PicturesBusy)
    @abc.abstractmethod
    async def change_avatar(self, user_id: UUID, picture: bytes) -> Profile:
        """Give the caller the avatar in the bytes `picture`, which storage keeps.

        Nothing changes where storage refuses it or is away (`Unavailable`). Raises `NoSuchPerson` for somebody else.
        """

    @raises(NoSuchPerson, ProfilePending, AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def remove_avatar(self, user_id: UUID) -> Profile:
        """Take a person's avatar away; nothing changes for one without."""

    @raises(NoSuchPerson, ProfilePending, AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def preferences(self, user_id: UUID, keys: tuple[str, ...] = ()) -> tuple[Preference, ...]:
        """A person's preferences by key, or only `keys`, at most 500.

        Declared ones that are not set come with their default.
        """

    @raises(NoSuchPerson, ProfilePending, PreferencesTooLarge)
    @abc.abstractmethod
    async def change_preferences(self, user_id: UUID, changes: tuple[PreferenceChange, ...]) -> tuple[Preference, ...]:
        """Make all `changes`, at most 500, or none, and answer the keys concerned as they are then.

        Raises `Invalid` naming every bad key, and `PreconditionFailed` for one that has another version than expected.
        """

    @raises(NoSuchPerson, AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def activity(self, user_id: UUID, cursor: str, limit: int, action: str = "") -> ActivityPage:
        """What a person did and what happened to them, newest first, only of the kind `action` if given."""

    @raises(NoSuchPerson, AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def readings(self, user_id: UUID, cursor: str, limit: int) -> ReadingPage:
        """Who else read a person's personal fields, newest first."""

    @raises(AccessLogUnavailable)
    @repeatable
    @abc.abstractmethod
    async def pages(self, cursor: str) -> DocumentPage:
        """All profiles in pages, each as a document for the search service, after `cursor`, which is empty at first.

        For other services: raises `Forbidden` for people without `users:read`, and `Malformed` for a cursor from
        elsewhere.
        """
