"""Merge patches of a profile (RFC 7396), as pure functions.

A profile is flat, so a patch is an object whose members replace fields: null clears one, an absent member keeps it.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from orion_core.contracts.users import Profile, ProfileChange
from orion_core.errors import FieldError, Invalid, Malformed


def fields(kind: Any) -> dict[str, attrs.Attribute[Any]]:
    """The fields of a value by name."""
    return attrs.fields_dict(kind)


_CHANGEABLE = fields(ProfileChange)
_MOST_NAMED, _MOST_SHOWN = 100, 64
_READ_ONLY = {"id", *fields(Profile)}.difference(_CHANGEABLE)


def read_patch(body: bytes) -> ProfileChange:
    """The change that the JSON text `body` asks for.

    Raises `Malformed` for what is no JSON or names a field twice, and `Invalid` that names every unknown, read-only and
    wrong field (U5), a hundred of them at the most.
    """
    patch = _parse(body)
    if not isinstance(patch, dict):
        detail = "must be a JSON object with the fields to change"
        raise Invalid(f"the body {detail}", errors=[FieldError("", "type", detail)])
    change: dict[str, Any] = {}
    problems: list[FieldError] = []
    for field, given in patch.items():
        wanted = "" if given is None else given
        if problem := _problem(field, wanted):
            problems.append(problem)
        else:
            change[field] = wanted
    if problems:
        named = problems[:_MOST_NAMED]
        raise Invalid("; ".join(f"{each.field}: {each.detail}" for each in named), errors=named)
    return ProfileChange(**change)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_object)
    except Malformed:
        raise
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError:
        reason = "a number in it is too long"
    raise Malformed(f"the body is not JSON: {reason}")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two members counts (RFC 8259, section 4), so neither does.
    found: dict[str, Any] = {}
    for name, given in members:
        if name in found:
            field, detail = _shown(name), "is given twice"
            raise Malformed(f"{field}: {detail}", errors=[FieldError(field, "duplicate", detail)])
        found[name] = given
    return found


def _shown(name: str) -> str:
    """A client's name for a field, fit for an answer: half a surrogate pair cannot be encoded."""
    return name[:_MOST_SHOWN].encode("utf-8", "backslashreplace").decode("utf-8")


def _problem(field: str, wanted: Any) -> FieldError | None:
    if field in _READ_ONLY:
        return FieldError(field, "read_only", "cannot be changed here")
    if field not in _CHANGEABLE:
        return FieldError(_shown(field), "unknown", f"is no field of a profile; known are {', '.join(_CHANGEABLE)}")
    try:
        # One field at a time: making the whole change at once would stop at the first bad one.
        ProfileChange(**{field: wanted})
    except Invalid as error:
        return error.errors[0]
    return None
