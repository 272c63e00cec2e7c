"""Rows and profiles: what a person's row says, and the texts in it, as pure functions."""

from __future__ import annotations

import unicodedata
from typing import Any
from uuid import UUID

from orion_core.contracts.users import NewProfile, Profile, ProfileChange, ProfileChanged, PublicProfile
from orion_plugins.users.patches import fields
from orion_plugins.users.tables import UserProfile

CHANGEABLE = tuple(fields(ProfileChange))
"""The fields of a profile that people may change."""
_COPIED = tuple(name for name in fields(Profile) if name != "avatar_url")


def tidy(text: str) -> str:
    """`text` as it is stored: NFC, without blanks around it (U9)."""
    return unicodedata.normalize("NFC", text).strip()


def folded(text: str) -> str:
    """`text` as it is compared: without letter case, equal forms of a letter alike."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def beginning(text: str) -> str:
    """The pattern for LIKE, with a backslash as escape, of what begins with `text` once both are folded."""
    escaped = folded(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}%"


def with_keys(columns: dict[str, Any]) -> dict[Any, Any]:
    """`columns` to write, and those that follow from them."""
    keys = {f"{name}_key": folded(columns[name]) for name in ("email", "name") if name in columns}
    return {**columns, **keys}


def profile(row: UserProfile) -> Profile:
    """The profile in `row`."""
    return Profile(avatar_url=_avatar_url(row.picture_id), **{name: getattr(row, name) for name in _COPIED})


def public(row: UserProfile) -> PublicProfile:
    """The public projection of `row`."""
    return PublicProfile(row.user_id, row.name, _avatar_url(row.picture_id))


def changed(found: Profile, names: tuple[str, ...]) -> ProfileChanged:
    """The event that `names` of the profile `found` are new."""
    return ProfileChanged(
        user_id=found.user_id,
        name=found.name,
        first_name=found.first_name,
        last_name=found.last_name,
        bio=found.bio,
        version=found.version,
        changed=names,
    )


def texts(given: ProfileChange | NewProfile) -> dict[str, str]:
    """The changeable fields that `given` has, tidied."""
    return {name: tidy(text) for name in CHANGEABLE if (text := getattr(given, name)) is not None}


def _avatar_url(picture_id: UUID | None) -> str:
    return f"/api/v1/storage/pictures/{picture_id}/256" if picture_id else ""
