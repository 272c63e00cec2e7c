"""Merge patches of a profile (RFC 7396), as pure functions.

A profile is flat, so a patch is an object whose members replace fields: null clears one, an absent member keeps it.
"""

from __future__ import annotations

from typing import Any

import attrs

from orion_core.contracts.users import Profile, ProfileChange
from orion_core.errors import FieldError, Invalid
from orion_plugins.users.json_bodies import parsed, refusal, shown


def fields(kind: Any) -> dict[str, attrs.Attribute[Any]]:
    """The fields of a value by name."""
    return attrs.fields_dict(kind)


_CHANGEABLE = fields(ProfileChange)
_READ_ONLY = {"id", *fields(Profile)}.difference(_CHANGEABLE)


def read_patch(body: bytes) -> ProfileChange:
    """The change that the JSON text `body` asks for.

    Raises `Malformed` for what is no JSON or names a field twice, and `Invalid` that names every unknown, read-only and
    wrong field (U5), a hundred of them at the most.
    """
    patch = parsed(body)
    if not isinstance(patch, dict):
        raise refusal([FieldError("", "type", "must be a JSON object with the fields to change")])
    change: dict[str, Any] = {}
    problems: list[FieldError] = []
    for field, given in patch.items():
        wanted = "" if given is None else given
        if problem := _problem(field, wanted):
            problems.append(problem)
        else:
            change[field] = wanted
    if problems:
        raise refusal(problems)
    return ProfileChange(**change)


def _problem(field: str, wanted: Any) -> FieldError | None:
    if field in _READ_ONLY:
        return FieldError(field, "read_only", "cannot be changed here")
    if field not in _CHANGEABLE:
        return FieldError(shown(field), "unknown", f"is no field of a profile; known are {', '.join(_CHANGEABLE)}")
    try:
        # One field at a time: making the whole change at once would stop at the first bad one.
        ProfileChange(**{field: wanted})
    except Invalid as error:
        return error.errors[0]
    return None
