"""The preferences in the database; every function runs in the transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from orion_core.contracts.users import ChangedPreference, Preference, PreferenceType
from orion_core.errors import FieldError, PreconditionFailed
from orion_core.ids import new_id
from orion_core.json_value import Json
from orion_plugins.users.preferences import Wanted, check_size
from orion_plugins.users.tables import ACTIVE, UserPreference, UserProfile


async def stored(user_id: UUID, keys: Sequence[str] = ()) -> list[Preference]:
    """What the person has set, or only `keys` of it."""
    query = UserPreference.objects().where(UserPreference.user_id == user_id)
    if keys:
        # Text that is no key is nowhere, and PostgreSQL takes no NUL.
        query = query.where(UserPreference.key.is_in([key.replace("\x00", " ") for key in keys]))
    return [_preference(row) for row in await query]


async def apply(user_id: UUID, wanted: Sequence[Wanted], now: datetime) -> list[ChangedPreference] | None:
    """Make the changes and return those that were any; None if there is no such profile.

    Raises `PreconditionFailed` for a key with another version than expected, and `PreferencesTooLarge`.
    """
    # This row is what writers of one person wait for, and its counter gives versions that never come again.
    counted = await (
        UserProfile.update({UserProfile.preferences_version: UserProfile.preferences_version + 1})
        .where((UserProfile.user_id == user_id) & (UserProfile.state == ACTIVE))
        .returning(UserProfile.preferences_version)
    )
    if not counted:
        return None
    version = counted[0]["preferences_version"]
    before = {row.key: row for row in await UserPreference.objects().where(UserPreference.user_id == user_id)}
    _check_versions(wanted, before)
    changed = [each for each in wanted if _differs(each, before.get(each.key))]
    kept = {each.key: each.text for each in changed if each.text is not None}
    gone = [each.key for each in changed if each.text is None]
    texts = {key: row.value for key, row in before.items() if key not in gone} | kept
    if kept:
        check_size(texts)
        await UserPreference.insert(
            *(
                UserPreference(
                    id=new_id(),
                    user_id=user_id,
                    key=each.key,
                    value=each.text,
                    type=each.type,
                    version=version,
                    updated_at=now,
                )
                for each in changed
                if each.text is not None
            )
        ).on_conflict(
            target=(UserPreference.user_id, UserPreference.key),
            action="DO UPDATE",
            values=[UserPreference.value, UserPreference.type, UserPreference.version, UserPreference.updated_at],
        )
    if gone:
        await UserPreference.delete().where((UserPreference.user_id == user_id) & UserPreference.key.is_in(gone))
    return [_told(each) for each in changed]


def _check_versions(wanted: Sequence[Wanted], before: dict[str, UserPreference]) -> None:
    stale = [
        each.key
        for each in wanted
        if each.expected_version is not None
        and each.expected_version != (before[each.key].version if each.key in before else 0)
    ]
    if stale:
        detail = "has changed since it was read: read it again"
        raise PreconditionFailed(
            "; ".join(f"{key}: {detail}" for key in stale), errors=[FieldError(key, "stale", detail) for key in stale]
        )


def _differs(wanted: Wanted, row: UserPreference | None) -> bool:
    if row is None:
        return wanted.text is not None
    return (wanted.text, wanted.type) != (row.value, row.type)


def _told(wanted: Wanted) -> ChangedPreference:
    shown = "null" if wanted.text is None or wanted.private else wanted.text
    return ChangedPreference(wanted.key, wanted.type, Json(shown), wanted.text is None, wanted.private)


def _preference(row: UserPreference) -> Preference:
    return Preference(row.key, Json(row.value), cast(PreferenceType, row.type), row.version, False, row.updated_at)
