"""Which facts are counted, and on which day, as pure functions."""

from __future__ import annotations

from datetime import UTC, date

from orion_core.contracts.auth import SessionStarted, UserRegistered
from orion_core.events import event_type

Counted = UserRegistered | SessionStarted

METRICS = frozenset(event_type(cls).name for cls in (UserRegistered, SessionStarted))
"""The names of all metrics: an event is counted under its own."""


def metric(event: Counted) -> str:
    """The metric that counts `event`."""
    return event_type(type(event)).name


def day(event: Counted) -> date:
    """The day (UTC) of the fact, which may be long before it is heard of."""
    at = event.registered_at if isinstance(event, UserRegistered) else event.started_at
    return at.astimezone(UTC).date()
