"""The profiles in the database; functions that write run in the transaction of their caller."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from piccolo.columns.combination import WhereRaw

from orion_core.context import current
from orion_core.contracts.users import NoSuchPerson, PeopleQuery, Profile, ProfilePending
from orion_core.errors import PreconditionFailed
from orion_core.ids import new_id
from orion_core.paging import from_cursor
from orion_plugins.users import profiles
from orion_plugins.users.tables import ACTIVE, ERASED, UserProfile
from orion_plugins.users.visibility import is_own, no_such_person

_BLANK: dict[Any, Any] = {
    **dict.fromkeys(
        ("email", "email_key", "name", "name_key", "first_name", "last_name", "bio", "locale", "time_zone"), ""
    ),
    "picture_id": None,
    "state": ERASED,
}


async def find(user_id: UUID) -> UserProfile | None:
    """The row of a person who can be seen."""
    row: UserProfile | None = await _active().where(UserProfile.user_id == user_id).first()
    return row


async def find_all(ids: list[UUID]) -> list[UserProfile]:
    """The rows of those of `ids` who can be seen, in no order."""
    rows: list[UserProfile] = await _active().where(UserProfile.user_id.is_in(ids)) if ids else []
    return rows


async def own(user_id: UUID) -> UserProfile:
    """The row of the person who asks; raises what `missing` says."""
    row = await find(user_id)
    if row is None:
        raise await missing(user_id)
    return row


async def page(query: PeopleQuery, only: UUID | None) -> list[UserProfile]:
    """The rows of one page and one more if there is another page; `only` is the one person whom the caller may see."""
    wanted = _active()
    if only is not None:
        wanted = wanted.where(UserProfile.user_id == only)
    for column, text in (("email_key", query.email), ("name_key", query.name)):
        if text:
            wanted = wanted.where(WhereRaw(f"{column} LIKE {{}} ESCAPE '\\'", profiles.beginning(text)))
    if query.cursor:
        wanted = wanted.where(UserProfile.id > from_cursor(query.cursor))
    rows: list[UserProfile] = await wanted.order_by(UserProfile.id).limit(query.limit + 1)
    return rows


async def missing(user_id: UUID) -> NoSuchPerson | ProfilePending:
    """Why somebody whom the caller may change has no profile."""
    if await is_erased(user_id) or not is_own(current().actor, user_id):
        return no_such_person(user_id)
    return ProfilePending("your profile is being made: ask again in a second", retry_after=1)


async def is_erased(user_id: UUID) -> bool:
    """Whether there is a tombstone of the person."""
    return await UserProfile.exists().where((UserProfile.user_id == user_id) & (UserProfile.state == ERASED))


async def insert(row: UserProfile) -> bool:
    """Whether `row` was the first of its person; else nothing is written."""
    done = await (
        UserProfile.insert(row).on_conflict(target=UserProfile.user_id, action="DO NOTHING").returning(UserProfile.id)
    )
    return bool(done)


async def change(
    user_id: UUID, wanted: dict[str, Any], expected_version: int | None, now: datetime
) -> tuple[UserProfile, UserProfile]:
    """Write what of `wanted` is new; the row before and after, which are the same one if nothing was.

    Raises `PreconditionFailed` unless the profile still has `expected_version`, where that is given.
    """
    while True:
        row = await own(user_id)
        if expected_version not in (None, row.version):
            raise PreconditionFailed("the profile has changed since it was read: read it again")
        different = {name: new for name, new in wanted.items() if getattr(row, name) != new}
        if not different:
            return row, row
        # Compare-and-set: where somebody else was faster, look again. Their fields survive, as only the named ones are
        # written.
        written = await (
            UserProfile.update({**profiles.with_keys(different), "version": row.version + 1, "updated_at": now})
            .where(
                (UserProfile.user_id == user_id) & (UserProfile.version == row.version) & (UserProfile.state == ACTIVE)
            )
            .returning(*UserProfile.all_columns())
        )
        if written:
            return row, UserProfile(**written[0])


async def copy_email(user_id: UUID, email: str, version: int, now: datetime) -> Profile | None:
    """Take over the address that the account has since its `version`, unless a newer one is known (U8).

    The profile as it is then, or None where nothing changed that can be seen.
    """
    older = (UserProfile.user_id == user_id) & (UserProfile.state != ERASED) & (UserProfile.email_version < version)
    written = await (
        UserProfile.update(
            {
                **profiles.with_keys({"email": email}),
                "email_version": version,
                "version": UserProfile.version + 1,
                "updated_at": now,
            }
        )
        .where(older & (UserProfile.email != email))
        .returning(*UserProfile.all_columns())
    )
    if not written:
        # The same address: the profile does not change, but older news must still find this version.
        await UserProfile.update({UserProfile.email_version: version}).where(older)
    row = UserProfile(**written[0]) if written else None
    return profiles.profile(row) if row is not None and row.state == ACTIVE else None


async def erase(user_id: UUID, now: datetime) -> bool:
    """Leave a tombstone of the person; False if there was one already. Raises what `missing` says, oneself excepted."""
    while True:
        erased = await (
            UserProfile.update({**_BLANK, "erased_at": now, "updated_at": now, "version": UserProfile.version + 1})
            .where((UserProfile.user_id == user_id) & (UserProfile.state != ERASED))
            .returning(UserProfile.id)
        )
        if erased:
            return True
        if await is_erased(user_id):
            return False
        if not is_own(current().actor, user_id):
            raise no_such_person(user_id)
        # The news of the account are still on their way: they must find a tombstone. Where they arrive at this very
        # moment, there is a profile now, and the next round erases it.
        tombstone = UserProfile(id=new_id(), user_id=user_id, created_at=now, updated_at=now, erased_at=now, **_BLANK)
        if await insert(tombstone):
            return True


def _active() -> Any:
    return UserProfile.objects().where(UserProfile.state == ACTIVE)
