"""Merge patches of an endpoint (RFC 7396), as pure functions."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

from orion_core import codec
from orion_core.contracts.webhooks import Endpoint, EndpointChange
from orion_core.errors import FieldError, Invalid, Malformed

CHANGEABLE = tuple(get_type_hints(EndpointChange))
_READ_ONLY = set(get_type_hints(Endpoint)).difference(CHANGEABLE)


def read_patch(body: bytes) -> EndpointChange:
    """The change that the JSON text `body` asks for; null clears the description.

    Raises `Malformed` for what is no JSON, and `Invalid` that names every unknown, read-only and wrong field (U5).
    """
    try:
        patch = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    if not isinstance(patch, dict):
        detail = "must be a JSON object with the fields to change"
        raise Invalid(f"the body {detail}", errors=[FieldError("", "type", detail)])
    change: dict[str, Any] = {}
    problems: list[FieldError] = []
    for field, given in patch.items():
        wanted = "" if field == "description" and given is None else given
        if problem := _problem(field, wanted):
            problems.append(problem)
        else:
            change[field] = wanted
    if problems:
        raise Invalid("; ".join(f"{each.field}: {each.detail}" for each in problems), errors=problems)
    return codec.from_plain(change, EndpointChange)


def _problem(field: str, wanted: Any) -> FieldError | None:
    if field in _READ_ONLY:
        return FieldError(field, "read_only", "cannot be changed here")
    if field not in CHANGEABLE:
        return FieldError(field, "unknown", f"is no field of an endpoint; known are {', '.join(CHANGEABLE)}")
    if wanted is None:
        return FieldError(field, "type", "must not be null: leave it out to keep it")
    try:
        # One field at a time: making the whole change at once would stop at the first bad one.
        codec.from_plain({field: wanted}, EndpointChange)
    except Invalid as error:
        return error.errors[0] if error.errors else FieldError(field, "type", str(error))
    return None
