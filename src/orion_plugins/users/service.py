"""The people of the platform."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import current, use
from orion_core.contracts.auth import UserEmailChanged, UserRegistered
from orion_core.contracts.platform import PersonalDataRead
from orion_core.contracts.storage import Picture, Storage
from orion_core.contracts.users import (
    MOST_FOUND,
    ActivityPage,
    AvatarChanged,
    DocumentPage,
    NewProfile,
    People,
    PeopleQuery,
    Preference,
    PreferenceChange,
    PreferencesChanged,
    Profile,
    ProfileChange,
    ProfileExists,
    ProfilePage,
    PublicProfile,
    ReadingPage,
    UserErased,
    Users,
)
from orion_core.events import Envelope, Events, on, on_all
from orion_core.ids import new_id
from orion_core.jobs import Jobs, job
from orion_core.paging import check_limit, to_cursor
from orion_core.plugin import Catalogue
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.users import access_log, activity, preference_store, profiles, searchable
from orion_plugins.users import profile_store as store
from orion_plugins.users.preferences import MOST_KEYS, Declared
from orion_plugins.users.settings import UsersSettings
from orion_plugins.users.tables import ACTIVE, PENDING, UserPreference, UserProfile
from orion_plugins.users.visibility import is_own, no_such_person, require_signed_in, require_visible, sees, sees_all

_ACTION = re.compile(r"[a-z0-9_.]*")
_AGAIN = timedelta(minutes=1)
"""How long after an erasure nothing that began before it can still be running."""


@attrs.frozen
class UsersService(Users):
    """Keeps `Users` on one database."""

    db: Database
    events: Events
    jobs: Jobs
    clock: Clock
    catalogue: Catalogue
    settings: UsersSettings
    storage: Storage

    # Reading

    async def get(self, user_id: UUID) -> Profile:
        """See `Users.get`."""
        found = profiles.profile(await self._visible(user_id))
        await self._read([user_id], access_log.PROFILE, "users.get")
        return found

    async def find(self, ids: tuple[UUID, ...]) -> People:
        """See `Users.find`."""
        require_signed_in()
        _at_most(MOST_FOUND, "ids", ids)
        rows = await store.find_all([user_id for user_id in dict.fromkeys(ids) if sees(user_id)])
        by_id = {row.user_id: profiles.profile(row) for row in rows}
        await self._read(list(by_id), access_log.PROFILE, "users.find")
        return People(
            items=tuple(by_id[user_id] for user_id in dict.fromkeys(ids) if user_id in by_id),
            missing=tuple(user_id for user_id in dict.fromkeys(ids) if user_id not in by_id),
        )

    async def search(self, query: PeopleQuery) -> ProfilePage:
        """See `Users.search`."""
        require_signed_in()
        # A list shows exactly what reading one by one would.
        only = None if sees_all() else current().actor.user_id
        found = await store.page(query, only)
        rows = found[: query.limit]
        await self._read([row.user_id for row in rows], access_log.PROFILE, "users.search")
        return ProfilePage(
            items=tuple(profiles.profile(row) for row in rows),
            next_cursor=to_cursor(rows[-1].id) if len(found) > len(rows) else None,
        )

    async def public(self, user_id: UUID) -> PublicProfile:
        """See `Users.public`."""
        require_signed_in()
        row = await store.find(user_id)
        if row is None or not (self.settings.public_profiles or sees(user_id)):
            raise no_such_person(user_id)
        if not self.settings.public_profiles:
            await self._read([user_id], ("name", "avatar_url"), "users.public")
        return profiles.public(row)

    async def me(self) -> Profile:
        """See `Users.me`."""
        actor = current().actor
        found = profiles.profile(await store.own(actor.user_id))
        if actor.impersonator:
            await self._read([found.user_id], access_log.PROFILE, "users.me")
        return found

    # Writing

    async def create(self, profile: NewProfile) -> Profile:
        """See `Users.create`."""
        current().actor.require("users:create")
        now = self.clock.now()
        columns = profiles.with_keys({"email": profile.email.strip(), **profiles.texts(profile)})
        row = UserProfile(
            id=new_id(), user_id=profile.user_id, email_version=0, created_at=now, updated_at=now, **columns
        )
        async with self.db.transaction():
            if not await store.insert(row):
                raise ProfileExists(f"the account {profile.user_id} has a profile already: change that one")
            made = profiles.profile(row)
            names = tuple(sorted(name for name in profiles.CHANGEABLE if columns[name]))
            await activity.record(made.user_id, "user.profile_created", now)
            await self.events.publish(profiles.changed(made, names))
        return made

    async def change_me(self, change: ProfileChange, expected_version: int | None = None) -> Profile:
        """See `Users.change_me`."""
        return await self._write(current().actor.user_id, profiles.texts(change), expected_version)

    async def change(self, user_id: UUID, change: ProfileChange, expected_version: int | None = None) -> Profile:
        """See `Users.change`."""
        await self._may_change(user_id, "users:write", access_log.PROFILE, "users.change")
        return await self._write(user_id, profiles.texts(change), expected_version)

    async def change_avatar(self, user_id: UUID, picture: bytes) -> Profile:
        """See `Users.change_avatar`."""
        if not is_own(current().actor, user_id):
            require_signed_in()
            raise no_such_person(user_id)
        await store.own(user_id)
        # Before the transaction: no service is called inside one. What nobody starts to use, storage drops by itself.
        stored = await self.storage.put_picture(Picture(user_id, picture))
        return await self._use_picture(user_id, stored.id)

    async def remove_avatar(self, user_id: UUID) -> Profile:
        """See `Users.remove_avatar`."""
        await self._may_change(user_id, "users:write", access_log.PROFILE, "users.remove_avatar")
        return await self._use_picture(user_id, None)

    async def erase(self, user_id: UUID) -> None:
        """See `Users.erase`."""
        current().actor.refuse_impersonated()
        if not is_own(current().actor, user_id):
            require_visible(user_id)
            current().actor.require("users:delete")
        now, context = self.clock.now(), current()
        # What the client calls its request may be a value of the person, and goes wherever the news of the erasure go.
        unnamed = attrs.evolve(context, correlation_id=context.traceparent.split("-")[1], tracestate="")
        with use(unnamed):
            async with self.db.transaction():
                await self._erase(user_id, now)

    @job()
    async def strip_again(self, user_id: UUID) -> None:
        """Remove what a listener that had looked before the erasure wrote after it."""
        async with self.db.transaction():
            await self._strip(user_id)

    # Preferences

    async def preferences(self, user_id: UUID, keys: tuple[str, ...] = ()) -> tuple[Preference, ...]:
        """See `Users.preferences`."""
        _at_most(MOST_KEYS, "keys", keys)
        await self._visible(user_id)
        stored = await preference_store.stored(user_id, keys)
        await self._read([user_id], ("preferences",), "users.preferences")
        return self._declared.merged(stored, keys)

    async def change_preferences(self, user_id: UUID, changes: tuple[PreferenceChange, ...]) -> tuple[Preference, ...]:
        """See `Users.change_preferences`."""
        _at_most(MOST_KEYS, "changes", changes)
        await self._may_change(user_id, "users:write", ("preferences",), "users.change_preferences")
        wanted = self._declared.check(changes)
        keys = [each.key for each in wanted]
        now = self.clock.now()
        async with self.db.transaction():
            changed = await preference_store.apply(user_id, wanted, now)
            if changed is None:
                raise await store.missing(user_id)
            if changed:
                await activity.record(
                    user_id, "user.preferences_changed", now, {"keys": [each.key for each in changed]}
                )
                await self.events.publish(PreferencesChanged(user_id, tuple(changed)))
            after = await preference_store.stored(user_id, keys) if keys else []
        return self._declared.merged(after, keys) if keys else ()

    # Activity and readings

    async def activity(self, user_id: UUID, cursor: str, limit: int, action: str = "") -> ActivityPage:
        """See `Users.activity`."""
        check_limit(limit)
        if not _ACTION.fullmatch(action):
            raise invalid("action", "pattern", "must be a dotted name like auth.session_started")
        await self._visible(user_id)
        found = await activity.page(user_id, cursor, limit, action)
        await self._read([user_id], ("activity",), "users.activity")
        return found

    async def readings(self, user_id: UUID, cursor: str, limit: int) -> ReadingPage:
        """See `Users.readings`."""
        check_limit(limit)
        await self._visible(user_id)
        found = await access_log.page(user_id, cursor, limit)
        await self._read([user_id], ("access_log",), "users.readings")
        return found

    async def pages(self, cursor: str) -> DocumentPage:
        """See `Users.pages`."""
        actor = current().actor
        if not actor.trusted:
            actor.require("users:read")
        found = await searchable.page(cursor)
        await self._read([UUID(each.plain()["id"]) for each in found.documents], access_log.PROFILE, "users.pages")
        return found

    # What others tell

    @on(UserRegistered)
    async def create_profile(self, event: UserRegistered) -> None:
        """The first news of a person; repeated news change nothing, and an erased person does not come back."""
        named = profiles.with_keys({"name": profiles.tidy(event.name)})
        row = UserProfile(
            id=new_id(),
            user_id=event.user_id,
            created_at=event.registered_at,
            updated_at=event.registered_at,
            **profiles.with_keys({"email": event.email}),
            **named,
        )
        if await store.insert(row):
            return
        await UserProfile.update({**named, "state": ACTIVE, "created_at": event.registered_at}).where(
            (UserProfile.user_id == event.user_id) & (UserProfile.state == PENDING)
        )
        await self._copy_email(event.user_id, event.email, 1)

    @on(UserEmailChanged)
    async def copy_email(self, event: UserEmailChanged) -> None:
        """An older address never overwrites a newer one, and one that comes before the registration is kept (U8)."""
        row = UserProfile(
            id=new_id(),
            user_id=event.user_id,
            state=PENDING,
            email_version=event.version,
            created_at=event.changed_at,
            updated_at=event.changed_at,
            **profiles.with_keys({"email": event.email}),
        )
        if not await store.insert(row):
            await self._copy_email(event.user_id, event.email, event.version)

    @on(PersonalDataRead)
    async def note_reading(self, event: PersonalDataRead) -> None:
        """What another service showed of people is a reading as well."""
        await access_log.insert(event.actor, event.subjects, event.fields, event.purpose, event.read_at)

    @on_all()
    async def note_activity(self, envelope: Envelope) -> None:
        """A fact about a person that another service told becomes their activity; its own are written where they are
        made."""
        if envelope.service == "users":
            return
        about = activity.person_of(envelope)
        if about is None:
            return
        user_id, details = about
        if not await store.is_erased(user_id):
            await activity.record_fact(user_id, envelope, details)

    # Inside

    @property
    def _declared(self) -> Declared:
        return Declared(self.catalogue.preferences)

    async def _visible(self, user_id: UUID) -> UserProfile:
        """The row of a person whom the caller may see; raises `NoSuchPerson`, and `ProfilePending` for themselves."""
        if is_own(current().actor, user_id):
            return await store.own(user_id)
        require_visible(user_id)
        row = await store.find(user_id)
        if row is None:
            raise no_such_person(user_id)
        return row

    async def _may_change(self, user_id: UUID, permission: str, fields: Sequence[str], purpose: str) -> None:
        """Raise unless the caller may change the person and is shown `fields` of them in the answer."""
        if not is_own(current().actor, user_id):
            await self._visible(user_id)
            current().actor.require(permission)
            await self._read([user_id], fields, purpose)

    async def _read(self, subjects: Sequence[UUID], fields: Sequence[str], purpose: str) -> None:
        await access_log.record(subjects, fields, purpose, self.clock.now())

    async def _write(self, user_id: UUID, wanted: dict[str, Any], expected_version: int | None) -> Profile:
        now = self.clock.now()
        async with self.db.transaction():
            before, after = await store.change(user_id, wanted, expected_version, now)
            found = profiles.profile(after)
            if after is not before:
                names = tuple(sorted(name for name in wanted if getattr(before, name) != getattr(after, name)))
                await activity.record(user_id, "user.profile_changed", now, {"fields": names})
                await self.events.publish(profiles.changed(found, names))
        return found

    async def _use_picture(self, user_id: UUID, picture_id: UUID | None) -> Profile:
        now = self.clock.now()
        async with self.db.transaction():
            before, after = await store.change(user_id, {"picture_id": picture_id}, None, now)
            if after is not before:
                await activity.record(user_id, "user.avatar_changed", now, {"picture_id": after.picture_id})
                await self.events.publish(AvatarChanged(user_id, after.picture_id, before.picture_id))
        return profiles.profile(after)

    async def _copy_email(self, user_id: UUID, email: str, version: int) -> None:
        if found := await store.copy_email(user_id, email, version, self.clock.now()):
            await self.events.publish(profiles.changed(found, ("email",)))

    async def _erase(self, user_id: UUID, now: datetime) -> None:
        if await store.erase(user_id, now):
            # Recorded first: where the request came from is to be stripped as well.
            await activity.record(user_id, "user.erased", now)
            await self._strip(user_id)
            await self.events.publish(UserErased(user_id, now))
            await self.jobs.enqueue(self.strip_again, user_id, delay=_AGAIN)

    async def _strip(self, user_id: UUID) -> None:
        await UserPreference.delete().where(UserPreference.user_id == user_id)
        await activity.strip(user_id)


def _at_most(most: int, name: str, items: Sequence[object]) -> None:
    if len(items) > most:
        raise invalid(name, "too_long", f"must have at most {most} items")
