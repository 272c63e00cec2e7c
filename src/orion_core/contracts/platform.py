"""Events that any service may tell; core publishes them, with the service as their source."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from orion_core.events import event
from orion_core.values import value


@value
class RouteMeasure:
    """The requests of one route within one minute. `buckets` counts durations up to each bound in `BOUNDS_MS`, the last
    one those above."""

    route: str
    method: str
    count: int
    errors: int
    total_ms: float
    buckets: tuple[int, ...]


PROXIED = "proxied"
"""Stands for the route of requests that another process answered, which measures them by itself."""
BOUNDS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
"""Upper bounds of the buckets of durations, in milliseconds."""


@event("system.requests_measured", version=1, subject="service")
class RequestsMeasured:
    """What one process answered for one service within one minute, route by route."""

    service: str
    process: str
    minute: datetime
    routes: tuple[RouteMeasure, ...]


@event("system.personal_data_read", version=1)
class PersonalDataRead:
    """A service showed somebody personal `fields` of the people `subjects`, whose profiles another one keeps.

    `actor` is who saw them, as ``user:<id>``; `purpose` is the operation that was asked for.
    """

    actor: str
    subjects: tuple[UUID, ...]
    fields: tuple[str, ...]
    purpose: str
    read_at: datetime


@event("audit.recorded", version=1)
class AuditRecorded:
    """Something happened in a service that belongs into the audit log; see `orion_core.auditing.recorded`.

    `actor` is who did it, as ``user:<id>``, `impersonator` who acted in that name, `user_id` whom it is about.
    """

    action: str
    outcome: str
    reason: str
    actor: str
    impersonator: str
    user_id: UUID | None
    session_id: UUID | None
    ip_address: str
    user_agent: str
    request_id: str
    recorded_at: datetime
