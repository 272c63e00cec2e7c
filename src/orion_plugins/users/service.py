"""The people of the platform."""

from __future__ import annotations

import unicodedata
from typing import Any
from uuid import UUID

import attrs
from piccolo.columns import Column

from orion_core.context import current
from orion_core.contracts.auth import UserRegistered
from orion_core.contracts.users import (
    NoSuchPerson,
    Profile,
    ProfileChange,
    ProfileChanged,
    ProfilePending,
    Users,
)
from orion_core.errors import PreconditionFailed
from orion_core.events import Events, on
from orion_core.ids import new_id
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.users.patches import fields
from orion_plugins.users.tables import UserProfile


@attrs.frozen
class UsersService(Users):
    """Keeps `Users` on the table `user_profiles`."""

    db: Database
    events: Events
    clock: Clock

    async def get(self, user_id: UUID) -> Profile:
        actor = current().actor
        own = actor.kind == "user" and actor.user_id == user_id
        if not (own or actor.trusted or actor.may("users:read")):
            if actor.kind == "anonymous":
                actor.require("users:read")
            # Whether there is such a person is nothing the caller may learn.
            raise _no_such_person(user_id)
        row = await _row(user_id)
        if row is None:
            raise _no_such_person(user_id)
        return _profile(row)

    async def me(self) -> Profile:
        row = await _row(current().actor.user_id)
        if row is None:
            raise _pending()
        return _profile(row)

    async def change_me(self, change: ProfileChange, expected_version: int | None = None) -> Profile:
        user_id = current().actor.user_id
        wanted = {name: _tidy(text) for name in fields(ProfileChange) if (text := getattr(change, name)) is not None}
        async with self.db.transaction():
            while True:
                row = await _row(user_id)
                if row is None:
                    raise _pending()
                if expected_version not in (None, row.version):
                    raise PreconditionFailed("the profile has changed since it was read: read it again")
                different: dict[Column | str, Any] = {
                    name: text for name, text in wanted.items() if getattr(row, name) != text
                }
                if not different:
                    return _profile(row)
                # Compare-and-set: where somebody else was faster, look again. Their fields survive, as only the
                # named ones are written.
                written = await (
                    UserProfile.update({**different, "version": row.version + 1, "updated_at": self.clock.now()})
                    .where((UserProfile.user_id == user_id) & (UserProfile.version == row.version))
                    .returning(*UserProfile.all_columns())
                )
                if written:
                    profile = _profile(UserProfile(**written[0]))
                    await self.events.publish(_changed(profile, tuple(sorted(map(str, different)))))
                    return profile

    @on(UserRegistered)
    async def create_profile(self, event: UserRegistered) -> None:
        """The first news of a person; repeated news change nothing."""
        profile = UserProfile(
            id=new_id(),
            user_id=event.user_id,
            email=event.email,
            name=_tidy(event.name),
            created_at=event.registered_at,
            updated_at=event.registered_at,
        )
        await UserProfile.insert(profile).on_conflict(target=UserProfile.user_id, action="DO NOTHING")


async def _row(user_id: UUID) -> UserProfile | None:
    return await UserProfile.objects().where(UserProfile.user_id == user_id).first()


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _profile(row: UserProfile) -> Profile:
    return Profile(**{name: getattr(row, name) for name in fields(Profile)})


def _changed(profile: Profile, changed: tuple[str, ...]) -> ProfileChanged:
    return ProfileChanged(
        user_id=profile.user_id,
        name=profile.name,
        first_name=profile.first_name,
        last_name=profile.last_name,
        bio=profile.bio,
        version=profile.version,
        changed=changed,
    )


def _no_such_person(user_id: UUID) -> NoSuchPerson:
    return NoSuchPerson(f"there is no person with the id {user_id}")


def _pending() -> ProfilePending:
    return ProfilePending("your profile is being made: ask again in a second", retry_after=1)
