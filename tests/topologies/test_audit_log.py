"""The audit log through HTTP: administrators read it, people read their own part, and all of that is recorded."""

from __future__ import annotations

import pytest

from orion_core.testing import Orion

pytestmark = pytest.mark.reaches("local", "wire", "processes")

OWN = "/api/v1/auth/audit"
ALL = "/api/v1/auth/admin/audit"


async def test_sign_ins_and_failures_are_recorded_with_where_they_came_from(orion: Orion) -> None:
    """A57."""
    person, admin = await orion.sign_up(), await orion.admin()
    body = {"email": person.email, "password": "wrong password"}
    await orion.http.post("/api/v1/auth/login", json=body, headers={"user-agent": "test/1", "x-request-id": "try-1"})

    answer = await orion.http.get(ALL, headers=admin.headers, params={"user_id": str(person.id), "outcome": "failure"})

    [entry] = answer.json()["items"]
    assert answer.status_code == 200
    assert (entry["action"], entry["reason"], entry["method"]) == ("signed_in", "wrong_password", "pwd")
    assert (entry["user_agent"], entry["request_id"], entry["actor"]) == ("test/1", "try-1", "anonymous")
    assert entry["ip_address"]


async def test_a_person_sees_who_read_the_log_about_them(orion: Orion) -> None:
    """A59."""
    person, other, admin = await orion.sign_up(), await orion.sign_up(), await orion.admin()
    await orion.http.get(ALL, headers=admin.headers, params={"user_id": str(person.id)})

    mine = await orion.http.get(OWN, headers=person.headers)
    theirs = await orion.http.get(OWN, headers=other.headers)

    [reading] = [item for item in mine.json()["items"] if item["action"] == "audit_log_read"]
    assert (reading["actor"], reading["purpose"]) == (f"user:{admin.id}", "audit_log")
    assert (reading["ip_address"], reading["user_agent"], reading["request_id"]) == ("", "", "")
    assert {item["user_id"] for item in mine.json()["items"]} == {str(person.id)}
    assert {item["action"] for item in theirs.json()["items"]} == {"registered", "signed_in"}


async def test_pages_go_on_where_the_last_one_ended(orion: Orion) -> None:
    """A59."""
    person = await orion.sign_up()
    await orion.sign_in(person.email)
    first = (await orion.http.get(OWN, headers=person.headers, params={"limit": 2})).json()
    second = (
        await orion.http.get(OWN, headers=person.headers, params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()

    assert [item["action"] for item in first["items"] + second["items"]] == ["signed_in", "signed_in", "registered"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        ({"cursor": "nonsense"}, 400, "cursor"),
        ({"user_id": "ada"}, 422, "user_id"),
        ({"since": "yesterday"}, 422, "since"),
        ({"since": "2026-01-01T00:00:00"}, 422, "since"),
        ({"action": "a\x00b"}, 422, "action"),
        ({"outcome": "x" * 17}, 422, "outcome"),
        ({"limit": "201"}, 422, "limit"),
    ],
)
async def test_a_question_that_cannot_be_is_refused_naming_the_field(
    orion: Orion, params: dict[str, str], status: int, field: str
) -> None:
    """A59."""
    admin = await orion.admin()
    answer = await orion.http.get(ALL, headers=admin.headers, params=params)

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_only_those_who_may_read_the_log_of_others(orion: Orion) -> None:
    """A53, A59."""
    person = await orion.sign_up()

    assert (await orion.http.get(ALL, headers=person.headers)).status_code == 403
    assert (await orion.http.get(ALL)).status_code == 401
    assert (await orion.http.get(OWN)).status_code == 401


@pytest.mark.parametrize("path", [ALL, "/api/v1/webhooks/endpoints", "/api/v1/analytics/top"])
async def test_whoever_lacks_a_permission_is_recorded_whichever_service_refused(orion: Orion, path: str) -> None:
    """A57: every denial, with who and from where."""
    person, admin = await orion.sign_up(), await orion.admin()
    refused = await orion.http.get(path, headers={**person.headers, "user-agent": "test/1"})
    await orion.settle()

    answer = await orion.http.get(ALL, headers=admin.headers, params={"action": "access_denied", "limit": 200})

    assert refused.status_code == 403
    [entry] = [item for item in answer.json()["items"] if item["user_id"] == str(person.id)]
    assert entry["actor"] == f"user:{person.id}"
    assert (entry["outcome"], entry["user_agent"]) == ("failure", "test/1")
    assert entry["reason"] in ("audit:read", "webhooks:manage", "analytics:read")
    assert entry["session_id"]
    assert entry["request_id"] == refused.headers["x-request-id"]
