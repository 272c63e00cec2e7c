"""Numbers, as every reach shows them. Other tests may register people meanwhile, so counts are lower bounds."""

from __future__ import annotations

import csv
import gzip
import io
import json
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from orion_core.contracts.analytics import (
    Analytics,
    EventRefused,
    ExportQuestion,
    NoSuchMetric,
    Track,
    TrendQuestion,
)
from orion_core.errors import Unauthenticated
from orion_core.json_value import Json
from orion_core.testing import Orion, Person

pytestmark = pytest.mark.reaches("local", "wire", "processes")

REGISTERED = "/api/v1/analytics/metrics/user.registered"
EVENTS = "/api/v1/analytics/events"
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


# Tracking


def event(name: str, number: int = 0, **properties: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(minutes=5)
    return {
        "name": name,
        "message_id": f"{name}-{number}",
        "timestamp": at.isoformat(),
        "properties": properties,
    }


def unique() -> str:
    return f"test.{secrets.token_hex(6)}"


async def track(orion: Orion, who: Person, body: Any) -> httpx.Response:
    return await orion.http.post(EVENTS, json=body, headers=who.headers)


async def trend(orion: Orion, who: Person, name: str, **more: Any) -> dict[str, Any]:
    answer = await orion.http.get(
        "/api/v1/analytics/trends", params={"name": name, "interval": "month", **more}, headers=who.headers
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_one_event_is_tracked_and_counted_once(orion: Orion) -> None:
    """Y2, Y4, Y5."""
    person, admin, name = await orion.sign_up(), await orion.admin(), unique()

    first = await track(orion, person, event(name))
    again = await track(orion, person, event(name))

    assert (first.status_code, first.json()) == (202, {"accepted": 1, "duplicate": 0, "refused": 0, "outcomes": []})
    assert (again.status_code, again.json()["duplicate"]) == (202, 1)
    assert (await trend(orion, admin, name))["total"] == 1


async def test_a_batch_names_what_was_refused(orion: Orion) -> None:
    """Y2."""
    person, admin, name = await orion.sign_up(), await orion.admin(), unique()

    answer = await track(orion, person, [event(name, 1), {"name": name}, 5, event(name, 2), event(name, 1)])

    assert answer.status_code == 202
    receipt = answer.json()
    assert (receipt["accepted"], receipt["duplicate"], receipt["refused"]) == (2, 1, 2)
    assert [(each["index"], each["status"], each["code"]) for each in receipt["outcomes"]] == [
        (1, "refused", "missing"),
        (2, "refused", "type"),
        (4, "duplicate", "duplicate"),
    ]
    assert (await trend(orion, admin, name))["total"] == 2


async def test_a_packed_batch_is_unpacked(orion: Orion) -> None:
    """Y2."""
    person, admin, name = await orion.sign_up(), await orion.admin(), unique()
    events = {"events": [event(name, number, page=f"/{number % 3}") for number in range(300)], "source": "web"}
    packed = gzip.compress(json.dumps(events).encode())
    headers = {**person.headers, "content-encoding": "gzip", "content-type": "application/json"}

    answer = await orion.http.post(EVENTS, content=packed, headers=headers)
    bomb = await orion.http.post(EVENTS, content=gzip.compress(b" " * 11_000_000), headers=headers)
    broken = await orion.http.post(EVENTS, content=b"not gzip", headers=headers)

    assert (answer.status_code, answer.json()["accepted"]) == (202, 300)
    assert (bomb.status_code, bomb.json()["code"]) == (413, "too_large")
    assert (broken.status_code, broken.json()["code"]) == (400, "malformed")
    found = await trend(orion, admin, name, by="page")
    assert [(each["value"], each["total"]) for each in found["series"]] == [("/0", 100), ("/1", 100), ("/2", 100)]


async def test_a_single_event_that_is_refused_answers_422(orion: Orion) -> None:
    person = await orion.sign_up()

    answer = await track(orion, person, {"name": "", "message_id": "1"})
    reserved = await track(orion, person, event("user.registered"))
    other = await track(orion, person, {**event(unique()), "user_id": str(uuid4())})

    assert (answer.status_code, answer.json()["code"]) == (422, "analytics.event_refused")
    assert answer.json()["errors"][0]["field"] == "name"
    assert (reserved.status_code, reserved.json()["errors"][0]["code"]) == (422, "reserved")
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "user_id")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"events": 5}', "application/json", 422),
        (b"<x/>", "application/xml", 415),
    ],
)
async def test_a_body_that_is_no_batch_is_a_problem(orion: Orion, body: bytes, kind: str, status: int) -> None:
    person = await orion.sign_up()

    answer = await orion.http.post(EVENTS, content=body, headers={**person.headers, "content-type": kind})

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_nobody_tracks_without_signing_in(orion: Orion) -> None:
    answer = await orion.http.post(EVENTS, json=event(unique()))
    wrong = await orion.http.post(EVENTS, json=event(unique()), headers={"authorization": "Bearer nonsense"})

    assert (answer.status_code, wrong.status_code) == (401, 401)


@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
async def test_who_asked_not_to_be_tracked_is_not(orion: Orion, header: str) -> None:
    """Y31."""
    person, admin, name = await orion.sign_up(), await orion.admin(), unique()

    answer = await orion.http.post(EVENTS, json=event(name), headers={**person.headers, header: "1"})

    assert (answer.status_code, answer.json()["outcomes"][0]["code"]) == (202, "opted_out")
    assert (await trend(orion, admin, name))["total"] == 0


async def test_people_are_counted_exactly_and_by_value(orion: Orion) -> None:
    """Y13, Y15."""
    one, other, admin, name = await orion.sign_up(), await orion.sign_up(), await orion.admin(), unique()
    await track(orion, one, [event(name, 1, plan="team"), event(name, 2, plan="team"), event(name, 3, plan="solo")])
    await track(orion, other, [event(name, 4, plan="team"), event(name, 5)])

    events = await trend(orion, admin, name, by="plan")
    people = await trend(orion, admin, name, by="plan", measure="people")
    top = await orion.http.get(
        "/api/v1/analytics/top", params={"name": name, "by": "plan", "limit": 1}, headers=admin.headers
    )

    assert [(each["value"], each["total"]) for each in events["series"]] == [("team", 3), ("solo", 1)]
    assert [(each["value"], each["total"]) for each in people["series"]] == [("team", 2), ("solo", 1)]
    assert (events["total"], people["total"], people["values"]) == (4, 2, 2)
    assert top.json() == {"items": [{"value": "team", "count": 3}], "total": 4, "values": 2}


async def test_days_are_those_of_the_zone(orion: Orion) -> None:
    """Y18: an event of 23:30 UTC is one of the next day in Vienna."""
    person, admin, name = await orion.sign_up(), await orion.admin(), unique()
    await track(orion, person, {**event(name), "timestamp": "2026-03-28T23:30:00Z"})
    asked = {"interval": "day", "from": "2026-03-28", "to": "2026-03-31"}

    utc = await trend(orion, admin, name, **asked)
    vienna = await trend(orion, admin, name, **asked, zone="Europe/Vienna")

    assert utc["series"][0]["points"] == [1, 0, 0]
    assert vienna["series"][0]["points"] == [0, 1, 0]
    assert [datetime.fromisoformat(each).isoformat() for each in vienna["buckets"]] == [
        "2026-03-28T00:00:00+01:00",
        "2026-03-29T00:00:00+01:00",
        "2026-03-30T00:00:00+02:00",
    ]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"zone": "Atlantis"}, 422),
        ({"from": "yesterday"}, 400),
        ({"from": "2026-03-02", "to": "2026-03-01"}, 422),
        ({"interval": "hour", "from": "2020-01-01", "to": "2026-01-01"}, 422),
        ({"interval": "minute"}, 400),
        ({"limit": "0"}, 422),
        ({"by": "x" * 101}, 422),
    ],
)
async def test_a_question_that_cannot_be_answered_is_a_problem(
    orion: Orion, asked: dict[str, str], status: int
) -> None:
    admin = await orion.admin()

    answer = await orion.http.get("/api/v1/analytics/trends", params={"name": "opened", **asked}, headers=admin.headers)

    assert answer.status_code in ({400, 422} if status == 400 else {status}), answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("path", ["trends?name=x", "top", "performance", "export", "admin/sources"])
async def test_answers_are_for_those_who_may_read_them(orion: Orion, path: str) -> None:
    """Y33."""
    person = await orion.sign_up()

    refused = await orion.http.get(f"/api/v1/analytics/{path}", headers=person.headers)
    nobody = await orion.http.get(f"/api/v1/analytics/{path}")

    assert (refused.status_code, nobody.status_code) == (403, 401)


async def test_exports_hold_the_same_numbers_as_the_chart(orion: Orion) -> None:
    """Y28."""
    person, admin, name = await orion.sign_up(), await orion.admin(), unique()
    await track(orion, person, [event(name, number, cell=["=1+1", "fine"][number % 2]) for number in range(600)])
    shown = await trend(orion, admin, name, by="cell")

    async def export(**asked: str) -> str:
        answer = await orion.http.get("/api/v1/analytics/export", params={"name": name, **asked}, headers=admin.headers)
        assert answer.status_code == 200, answer.text
        assert "attachment" in answer.headers["content-disposition"]
        return answer.text

    raw = list(csv.DictReader(io.StringIO(await export(), newline="")))
    lines = [json.loads(line) for line in (await export(format="ndjson")).splitlines()]
    chart = list(csv.DictReader(io.StringIO(await export(of="trend", by="cell", interval="month"), newline="")))
    top = [json.loads(line) for line in (await export(of="top", by="cell", format="ndjson")).splitlines()]

    assert len(raw) == len(lines) == shown["total"] == 600
    assert {row["message_id"] for row in raw} == {f"{name}-{number}" for number in range(600)}
    assert {row["user_id"] for row in lines} == {str(person.id)}
    assert {line["properties"]["cell"] for line in lines} == {"=1+1", "fine"}
    totals: dict[str, int] = {}
    for row in chart:
        totals[row["value"]] = totals.get(row["value"], 0) + int(row["count"])
    assert totals == {"'=1+1": 300, "fine": 300}
    assert top == [{"value": "=1+1", "count": 300}, {"value": "fine", "count": 300}]


async def test_a_rebuild_changes_no_number(orion: Orion) -> None:
    """Y14."""
    person, admin, name = await orion.sign_up(), await orion.admin(), unique()
    await track(orion, person, [{**event(name, number), "timestamp": "2026-03-02T12:00:00Z"} for number in range(5)])

    ordered = await orion.http.post(
        "/api/v1/analytics/admin/rebuilds",
        json={"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
        headers=admin.headers,
    )
    await orion.settle()
    where = f"/api/v1/analytics/admin/rebuilds/{ordered.json()['id']}"
    done = await orion.http.get(where, headers=admin.headers)
    unknown = await orion.http.get(f"/api/v1/analytics/admin/rebuilds/{uuid4()}", headers=admin.headers)

    assert ordered.status_code == 202
    assert done.json()["state"] == "done"
    assert done.json()["hours"] == done.json()["done"] >= 1
    assert (unknown.status_code, unknown.json()["code"]) == (404, "analytics.no_such_rebuild")
    assert (await trend(orion, admin, name, **{"from": "2026-03-01", "to": "2026-04-01"}))["total"] == 5


async def test_facts_of_the_platform_can_be_asked_for_like_all_events(orion: Orion) -> None:
    """Y3."""
    admin = await orion.admin()
    await orion.settle()
    before = await trend(orion, admin, "user.registered", measure="people")

    await orion.sign_up()
    await orion.settle()

    after = await trend(orion, admin, "user.registered", measure="people")
    methods = await trend(orion, admin, "auth.session_started", by="method")
    assert after["total"] > before["total"]
    assert "pwd" in {each["value"] for each in methods["series"]}


async def test_sources_tell_what_was_refused(orion: Orion) -> None:
    """Y7."""
    person, admin, source = await orion.sign_up(), await orion.admin(), f"s{secrets.token_hex(4)}"
    await track(orion, person, {"events": [event(unique()), {"name": "x"}], "source": source})

    answer = await orion.http.get("/api/v1/analytics/admin/sources", headers=admin.headers)

    mine = [each for each in answer.json() if each["source"] == source]
    assert [(each["status"], each["code"], each["count"]) for each in mine] == [
        ("accepted", "", 1),
        ("refused", "missing", 1),
    ]


async def test_in_process_an_event_is_tracked_by_its_class(orion: Orion) -> None:
    """Y1."""
    person, name = await orion.sign_up(), unique()
    analytics = orion.service(Analytics)

    with orion.acting_as(person.id):
        receipt = await analytics.track(Track(name, "1", properties=Json.of({"email": "ada@example.org"})))
        with pytest.raises(EventRefused):
            await analytics.track(Track(name, "2", properties=Json.of(["no object"])))
    with orion.acting_as(person.id, "analytics:read", "analytics:export"):
        found = await analytics.trend(TrendQuestion(name, measure="people"))
        page = await analytics.raw(ExportQuestion(name=name), "", 10)

    assert receipt.accepted == 1
    assert (found.total, len(found.buckets)) == (1, 30)
    assert [(item.user_id, item.properties.plain()) for item in page.items] == [(person.id, {"email": "[email]"})]
