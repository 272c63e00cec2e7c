"""What requests ask to change of preferences, as pure functions.

One preference is ``{"value": ..., "type": ..., "version": ...}``, of which the value is enough; a patch is an object of
these by key, where null takes a key back to its default.
"""

from __future__ import annotations

from typing import Any

from orion_core.contracts.users import PreferenceChange
from orion_core.errors import FieldError, Invalid
from orion_core.json_value import Json
from orion_plugins.users.json_bodies import parsed, refusal, shown

_MEMBERS = ("value", "type", "version")


def read_patch(body: bytes) -> tuple[PreferenceChange, ...]:
    """The changes in the JSON text `body`; raises `Malformed`, and `Invalid` that names every bad key, a hundred of
    them at the most."""
    changes = []
    problems: list[FieldError] = []
    for key, given in _object(parsed(body), "an object of preferences by key").items():
        try:
            changes.append(_made(key, remove=True) if given is None else _change(key, given))
        except Invalid as error:
            problems += error.errors
    if problems:
        raise refusal(problems)
    return tuple(changes)


def read_one(key: str, body: bytes) -> PreferenceChange:
    """The change of `key` in the JSON text `body`; raises `Malformed` and `Invalid`."""
    return _change(key, parsed(body))


def _change(key: str, given: Any) -> PreferenceChange:
    members = _object(given, "an object with a value", key)
    problems = [
        FieldError(f"{shown(key)}.{shown(name)}", "unknown", f"is unknown; known are {', '.join(_MEMBERS)}")
        for name in members
        if name not in _MEMBERS
    ]
    if "value" not in members:
        problems.append(FieldError(f"{shown(key)}.value", "missing", "is missing"))
    if problems:
        raise refusal(problems)
    try:
        value = Json.of(members["value"])
    except ValueError:
        raise _refused(key, "json", "must be JSON: no NaN and no infinity") from None
    return _made(key, value=value, type=members.get("type"), expected_version=members.get("version"))


def _made(key: str, **members: Any) -> PreferenceChange:
    try:
        return PreferenceChange(key, **members)
    except Invalid as error:
        # The contract's names for them are not those of the body.
        found = error.errors[0]
        field = {"type": f"{shown(key)}.type", "expected_version": f"{shown(key)}.version"}.get(found.field, key)
        raise _refused(field, found.code, found.detail) from error


def _object(given: Any, what: str, field: str = "") -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _refused(field, "type", f"must be {what}")
    return given


def _refused(field: str, code: str, detail: str) -> Invalid:
    return refusal([FieldError(shown(field), code, detail)])
