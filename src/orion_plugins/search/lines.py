"""Documents as lines of JSON (NDJSON), as a pure function."""

from __future__ import annotations

import json

from orion_core.errors import FieldError, Malformed
from orion_core.json_body import refuse_ambiguous
from orion_core.json_value import Json


def read_lines(body: bytes) -> tuple[Json, ...]:
    """The JSON values in `body`, one per line, empty lines left out; raises `Malformed` that names a bad line."""
    found = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                refuse_ambiguous(line)
                found.append(Json.of(json.loads(line)))
            except (ValueError, RecursionError) as error:
                detail = f"line {number} is no JSON: {error}"
                raise Malformed(detail, errors=[FieldError(f"lines.{number}", "malformed", detail)]) from error
    return tuple(found)
