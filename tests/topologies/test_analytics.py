"""Numbers, as every reach shows them. Other tests may register people meanwhile, so counts are lower bounds."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from orion_core.contracts.analytics import Analytics, NoSuchMetric
from orion_core.errors import Unauthenticated
from orion_core.testing import Orion

pytestmark = pytest.mark.reaches("local", "wire", "processes")

REGISTERED = "/api/v1/analytics/metrics/user.registered"
STARTED = "/api/v1/analytics/metrics/auth.session_started"


async def total(orion: Orion, path: str, headers: dict[str, str]) -> int:
    answer = await orion.http.get(path, headers=headers)
    assert answer.status_code == 200
    found: int = answer.json()["total"]
    return found


async def test_registrations_are_counted(orion: Orion) -> None:
    """Y3."""
    admin = await orion.admin()
    await orion.settle()
    before = await total(orion, REGISTERED, admin.headers)

    for _ in range(3):
        await orion.sign_up()
    await orion.settle()

    assert await total(orion, REGISTERED, admin.headers) >= before + 3


async def test_sessions_are_counted_beside_registrations(orion: Orion) -> None:
    """Y3."""
    admin, person = await orion.admin(), await orion.sign_up()
    await orion.settle()
    before = await total(orion, STARTED, admin.headers)

    other = await orion.sign_up()
    await orion.settle()

    assert other.id != person.id
    assert await total(orion, STARTED, admin.headers) >= before + 1


async def test_counts_are_per_day_in_utc_oldest_first_without_empty_days(orion: Orion) -> None:
    """Y18."""
    admin = await orion.admin()
    began = datetime.now(UTC).date()
    await orion.sign_up()
    await orion.settle()

    answer = await orion.http.get(REGISTERED, headers=admin.headers)

    report = answer.json()
    assert set(report) == {"name", "total", "days"}
    assert report["name"] == "user.registered"
    days = [date.fromisoformat(each["day"]) for each in report["days"]]
    assert days == sorted(set(days))
    assert days[-1] >= began
    assert all(each["count"] > 0 for each in report["days"])
    assert report["total"] == sum(each["count"] for each in report["days"])


async def test_numbers_are_for_those_who_may_read_them(orion: Orion) -> None:
    """Y33."""
    person = await orion.sign_up()

    refused = await orion.http.get(REGISTERED, headers=person.headers)
    nobody = await orion.http.get(REGISTERED)

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("name", ["user.unheard_of", "user", "x" * 300, "' OR 1=1 --"])
async def test_a_metric_that_is_not_counted_is_not_found(orion: Orion, name: str) -> None:
    admin = await orion.admin()

    answer = await orion.http.get(f"/api/v1/analytics/metrics/{name}", headers=admin.headers)

    assert (answer.status_code, answer.json()["code"]) == (404, "analytics.no_such_metric")


async def test_a_person_without_permission_does_not_learn_which_metrics_exist(orion: Orion) -> None:
    person = await orion.sign_up()

    answer = await orion.http.get("/api/v1/analytics/metrics/user.unheard_of", headers=person.headers)

    assert answer.status_code == 403


async def test_the_contract_says_the_same_as_the_route(orion: Orion) -> None:
    admin = await orion.admin()
    await orion.settle()
    shown = (await orion.http.get(REGISTERED, headers=admin.headers)).json()
    analytics = orion.service(Analytics)

    report = await analytics.metric("user.registered")
    with pytest.raises(NoSuchMetric):
        await analytics.metric("user.unheard_of")

    assert report.name == shown["name"]
    assert report.total >= shown["total"] > 0
    assert [day.day.isoformat() for day in report.days][: len(shown["days"])] == [day["day"] for day in shown["days"]]


async def test_the_service_checks_the_permission_by_itself(orion: Orion) -> None:
    person = await orion.sign_up()

    with orion.acting_as(person.id), pytest.raises(Exception) as refused:
        await orion.service(Analytics).metric("user.registered")

    assert not isinstance(refused.value, Unauthenticated)
    assert getattr(refused.value, "status", None) == 403
