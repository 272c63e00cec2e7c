"""JSON that requests send and routes read by themselves, and what is said of one that is refused. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orion_core.errors import FieldError, Invalid, Malformed

_MOST_NAMED, _MOST_SHOWN = 100, 128


def parsed(body: bytes) -> Any:
    """The value of the JSON text `body`, whole numbers exact; raises `Malformed` for what is no JSON or names a member
    twice."""
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


def shown(name: str) -> str:
    """A client's name for a field, fit for an answer: not of any length, and half a surrogate pair cannot be sent."""
    return name[:_MOST_SHOWN].encode("utf-8", "backslashreplace").decode("utf-8")


def refusal(problems: Sequence[FieldError]) -> Invalid:
    """What is raised for `problems`; it names a hundred at the most."""
    named = problems[:_MOST_NAMED]
    return Invalid("; ".join(f"{each.field or 'the body'}: {each.detail}" for each in named), errors=named)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two members counts (RFC 8259, section 4), so neither does.
    found: dict[str, Any] = {}
    for name, given in members:
        if name in found:
            field, detail = shown(name), "is given twice"
            raise Malformed(f"{field}: {detail}", errors=[FieldError(field, "duplicate", detail)])
        found[name] = given
    return found
