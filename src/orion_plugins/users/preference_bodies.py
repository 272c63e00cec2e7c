"""What requests ask to change of preferences, as pure functions.

One preference is ``{"value": ..., "type": ..., "version": ...}``, of which the value is enough; a patch is an object of
these by key, where null takes a key back to its default.
"""

from __future__ import annotations

import json
from typing import Any

from orion_core.contracts.users import PreferenceChange
from orion_core.errors import FieldError, Invalid, Malformed
from orion_core.json_value import Json

_MEMBERS = ("value", "type", "version")


def read_patch(body: bytes) -> tuple[PreferenceChange, ...]:
    """The changes in the JSON text `body`; raises `Malformed`, and `Invalid` that names every bad key."""
    changes = []
    problems: list[FieldError] = []
    for key, given in _object(_parsed(body), "an object of preferences by key").items():
        try:
            changes.append(_made(key, remove=True) if given is None else _change(key, given))
        except Invalid as error:
            problems += error.errors
    if problems:
        raise Invalid("; ".join(f"{each.field}: {each.detail}" for each in problems), errors=problems)
    return tuple(changes)


def read_one(key: str, body: bytes) -> PreferenceChange:
    """The change of `key` in the JSON text `body`; raises `Malformed` and `Invalid`."""
    return _change(key, _parsed(body))


def _change(key: str, given: Any) -> PreferenceChange:
    members = _object(given, "an object with a value", key)
    problems = [
        FieldError(f"{key}.{name}", "unknown", f"is unknown; known are {', '.join(_MEMBERS)}")
        for name in members
        if name not in _MEMBERS
    ]
    if "value" not in members:
        problems.append(FieldError(f"{key}.value", "missing", "is missing"))
    if problems:
        raise Invalid("; ".join(f"{each.field}: {each.detail}" for each in problems), errors=problems)
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
        field = {"key": key, "type": f"{key}.type", "expected_version": f"{key}.version"}.get(found.field, key)
        raise _refused(field, found.code, found.detail) from error


def _parsed(body: bytes) -> Any:
    # Not the framework's decoder: whole numbers of any size stay exact here.
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from error


def _object(given: Any, what: str, field: str = "") -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _refused(field, "type", f"must be {what}")
    return given


def _refused(field: str, code: str, detail: str) -> Invalid:
    return Invalid(f"{field or 'the body'}: {detail}", errors=[FieldError(field, code, detail)])
