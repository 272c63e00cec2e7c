"""Y26: requests are counted in memory and told once a minute."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from brute import analytics

from orion_core import codec
from orion_core.context import SYSTEM, acting
from orion_core.contracts.analytics import Analytics, PerformanceQuestion
from orion_core.contracts.platform import BOUNDS_MS, PROXIED, RequestsMeasured, RouteMeasure
from orion_core.observability.requests import MOST, RequestMeter, RequestReporter
from orion_core.ports.bus import Bus, Published
from orion_core.ports.database import DatabaseUnavailable
from orion_core.testing import Orion, engines
from orion_core.testing.clock import MovableClock

PREFIXES = {"/api/v1/auth": "auth", "/api/v1/users": "users"}
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_requests_are_counted_by_service_route_and_method() -> None:
    meter = RequestMeter(PREFIXES, "gateway")
    for took in (0.5, 1.0, 1.5, 20000.0):
        meter.count("/api/v1/users/{user_id}", "GET", 200, took)
    meter.count("/api/v1/users/{user_id}", "PATCH", 503, 3.0)
    meter.count("", "BREW", 404, 1.0)

    assert meter.take() == {
        "users": (
            RouteMeasure("/api/v1/users/{user_id}", "GET", 4, 0, 20003.0, (2, 1, *[0] * 11, 1)),
            RouteMeasure("/api/v1/users/{user_id}", "PATCH", 1, 1, 3.0, (0, 0, 1, *[0] * 11)),
        ),
        "gateway": (RouteMeasure("unmatched", "OTHER", 1, 0, 1.0, (1, *[0] * 13)),),
    }
    assert meter.take() == {}


def test_memory_is_bounded_whatever_is_asked_for() -> None:
    meter = RequestMeter(PREFIXES, "gateway")
    for number in range(MOST + 500):
        meter.count(f"/api/v1/users/{number}", "GET", 200, 1.0)

    found = meter.take()
    assert sum(len(routes) for routes in found.values()) == MOST + 1
    assert sum(each.count for routes in found.values() for each in routes) == MOST + 500


def measured(at: datetime, count: int = 3, errors: int = 1, service: str = "users", process: str = "a") -> Any:
    buckets = [0] * (len(BOUNDS_MS) + 1)
    buckets[4] = count
    route = RouteMeasure("/api/v1/users/me", "GET", count, errors, 15.0 * count, tuple(buckets))
    return RequestsMeasured(service, process, at, (route,))


async def test_measures_of_processes_add_up_on_the_axis_of_trends(database_url: str) -> None:
    async with analytics(database_url) as service:
        for event in (
            measured(NOON),
            measured(NOON, process="b"),
            measured(NOON + timedelta(hours=13)),
            measured(NOON, service="auth", count=1, errors=0),
        ):
            async with service.db.transaction():
                await service.measure(event)
        with acting(SYSTEM):
            days = await service.performance(
                PerformanceQuestion(NOON - timedelta(hours=12), NOON + timedelta(days=1), zone="Asia/Kathmandu")
            )
            one = await service.performance(
                PerformanceQuestion(NOON, NOON + timedelta(days=1), service="auth", interval="month")
            )
            none = await service.performance(PerformanceQuestion(NOON, NOON + timedelta(days=1), route="/other"))

    assert [(each.service, each.route, each.total.count, each.total.errors) for each in days.routes] == [
        ("users", "/api/v1/users/me", 9, 3),
        ("auth", "/api/v1/users/me", 1, 0),
    ]
    # The day of Kathmandu ends at 18:15 UTC.
    assert [point.count for point in days.routes[0].points] == [6, 3]
    assert (days.total.count, days.total.error_share, days.total.mean_ms) == (10, 0.3, 15.0)
    assert 10.0 < days.total.p50_ms <= 20.0
    assert [each.service for each in one.routes] == ["auth"]
    assert (none.routes, none.total.count, none.total.p99_ms) == ((), 0, 0.0)


@pytest.mark.reaches("local", "wire")
async def test_requests_are_told_when_the_minute_is_over(orion: Orion) -> None:
    person = await orion.sign_up()
    admin = await orion.admin()
    for _ in range(3):
        await orion.http.get("/api/v1/users/me", headers=person.headers)
    await orion.http.get("/nowhere/at/all")
    await orion.http.get("/health/live")
    await orion.settle()
    # The machine's clock goes on during the test, so that a minute may have ended already.
    early = await orion.told(RequestsMeasured)
    running = datetime.now(UTC).replace(second=0, microsecond=0)
    assert all(event.minute < running for event in early)

    await orion.advance(timedelta(minutes=1))

    async def done() -> bool:
        return {"auth", "gateway", "users"} <= {event.service for event in await orion.told(RequestsMeasured)}

    await engines.until(done, "telling of requests")
    await orion.settle()

    routes: Counter[tuple[str, str]] = Counter()
    for event in await orion.told(RequestsMeasured):
        routes.update({(each.route, each.method): each.count for each in event.routes})
    assert routes["/api/v1/users/me", "GET"] == 3
    assert routes["/api/v1/auth/register", "POST"] == 1
    assert routes["unmatched", "GET"] == 1
    assert not [route for route, _ in routes if "health" in route]
    with orion.acting_as(admin.id, "analytics:read"):
        found = await orion.service(Analytics).performance(PerformanceQuestion(service="users", interval="hour"))
    assert [(each.route, each.method, each.total.count) for each in found.routes] == [("/api/v1/users/me", "GET", 3)]


def proxied(count: int) -> RequestsMeasured:
    route = RouteMeasure(PROXIED, "GET", count, 0, 15.0, (count, *[0] * len(BOUNDS_MS)))
    return RequestsMeasured("gateway", "b", NOON, (route,))


async def test_what_was_proxied_is_counted_once_in_all(database_url: str) -> None:
    """Y26: the gateway measures what it passes on, and so does the service that answers it."""
    async with analytics(database_url) as service:
        for event in (measured(NOON), proxied(3)):
            async with service.db.transaction():
                await service.measure(event)
        with acting(SYSTEM):
            found = await service.performance(PerformanceQuestion(NOON, NOON + timedelta(days=1)))

    assert found.total.count == 3
    assert [(each.service, each.route, each.total.count) for each in found.routes] == [
        ("gateway", "proxied", 3),
        ("users", "/api/v1/users/me", 3),
    ]


class Away:
    """A database and a bus that are away until `there`, and keep what is published."""

    def __init__(self) -> None:
        self.there = False
        self.told: list[Any] = []

    def transaction(self) -> Any:
        return contextlib.nullcontext()

    async def publish(self, *given: Any) -> Any:
        if not self.there:
            raise DatabaseUnavailable("away")
        if not given or not isinstance(given[0], list):
            self.told += given
            return []
        self.told += [codec.loads(each.data, RequestsMeasured) for each in given[0]]
        return [Published.CONFIRMED for _ in given[0]]


def counts(events: list[RequestsMeasured]) -> dict[str, int]:
    return {event.service: sum(each.count for each in event.routes) for event in events}


async def test_what_cannot_be_told_is_told_later_and_stops_no_other() -> None:
    """Y26."""
    clock, meter, auth, users = MovableClock(), RequestMeter(PREFIXES, "gateway"), Away(), Away()
    both: Any = {"auth": auth, "users": users}
    reporter = RequestReporter(meter, both, both, cast(Bus, Away()), clock)
    users.there = True
    for path in ("/api/v1/auth/login", "/api/v1/users/me", "/api/v1/users/me"):
        meter.count(path, "POST", 200, 1.0)

    with pytest.raises(DatabaseUnavailable):
        await reporter.tell()
    assert (auth.told, counts(users.told)) == ([], {"users": 2})

    auth.there = True
    meter.count("/api/v1/auth/login", "POST", 503, 1.0)
    await reporter.tell()
    assert counts(auth.told) == {"auth": 2}
    assert auth.told[0].routes[0].errors == 1
    assert len(users.told) == 1


async def test_a_process_without_a_database_tells_through_the_bus() -> None:
    """Y26: a gateway by itself, whose requests would be known nowhere else."""
    meter, bus = RequestMeter(PREFIXES, "gateway"), Away()
    reporter = RequestReporter(meter, {}, {}, cast(Bus, bus), MovableClock())
    meter.count(PROXIED, "GET", 503, 1.0)

    with pytest.raises(DatabaseUnavailable):
        await reporter.tell()
    bus.there = True
    await reporter.tell()
    await reporter.tell()

    assert [(event.service, event.routes[0].route, event.routes[0].errors) for event in bus.told] == [
        ("gateway", "proxied", 1)
    ]
