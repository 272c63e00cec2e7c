"""Event types an endpoint asks for, and the payload it gets: pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

NAMED_ONLY = ("system", "jobs", "audit")
"""Families about the platform's own running: ``*`` does not mean them."""


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether the event type `name` is one of `patterns`: exact, ``prefix.*``, or ``*``."""
    for pattern in patterns:
        if pattern == name:
            return True
        if pattern == "*":
            if name.partition(".")[0] not in NAMED_ONLY:
                return True
        elif pattern.endswith(".*") and name.startswith(pattern[:-1]):
            return True
    return False


def payload(name: str, at: datetime, data: str) -> str:
    """The body of a message: ``{type, timestamp, data}`` around the JSON text `data`, whose order of keys stays."""
    stamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return f'{{"type":{json.dumps(name)},"timestamp":"{stamp}","data":{data}}}'
