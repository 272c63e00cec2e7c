"""An administrator acts as somebody else through HTTP, in every service."""

from __future__ import annotations

import pytest

from orion_core.testing import Orion, Person
from orion_core.testing.engines import until

pytestmark = pytest.mark.reaches("local", "wire", "processes")

AUTH = "/api/v1/auth"
ME = "/api/v1/users/me"
WHY = {"reason": "ticket 4711"}


async def begin(orion: Orion, admin: Person, person: Person) -> tuple[dict[str, str], str]:
    answer = await orion.http.post(f"{AUTH}/admin/users/{person.id}/impersonate", headers=admin.headers, json=WHY)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"session_id", "user_id", "access_token", "expires_in", "token_type"}
    return {"authorization": f"Bearer {body['access_token']}"}, body["session_id"]


async def test_somebody_who_acts_as_another_is_seen_as_such_everywhere(orion: Orion) -> None:
    """A59, A61: other services record who really looked."""
    person, admin = await orion.sign_up(name="Ada"), await orion.admin()
    await orion.settle()
    headers, _ = await begin(orion, admin, person)

    me = (await orion.http.get(f"{AUTH}/me", headers=headers)).json()
    profile = (await orion.http.get(ME, headers=headers)).json()
    readings = (await orion.http.get(f"{ME}/access-log", headers=person.headers)).json()

    assert (me["id"], me["impersonator"], me["permissions"]) == (str(person.id), str(admin.id), [])
    assert profile["name"] == "Ada"
    assert f"user:{admin.id}" in {reading["actor"] for reading in readings["items"]}


async def test_nothing_is_erased_in_anothers_name(orion: Orion) -> None:
    """A61."""
    person, admin = await orion.sign_up(), await orion.admin()
    await orion.settle()
    headers, _ = await begin(orion, admin, person)

    answer = await orion.http.delete(ME, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await orion.http.get(ME, headers=person.headers)).status_code == 200


async def test_an_impersonation_that_was_ended_counts_nowhere(orion: Orion) -> None:
    """A35, A61."""
    person, admin = await orion.sign_up(), await orion.admin()
    await orion.settle()
    headers, session = await begin(orion, admin, person)
    assert (await orion.http.get(ME, headers=headers)).status_code == 200

    ended = await orion.http.delete(f"{AUTH}/admin/impersonations/{session}", headers=admin.headers)

    assert (ended.status_code, ended.content) == (204, b"")
    assert (await orion.http.get(f"{AUTH}/me", headers=headers)).status_code == 401

    async def refused() -> bool:
        return (await orion.http.get(ME, headers=headers)).status_code == 401

    await until(refused, "the end reaches the other services")
    assert (await orion.http.get(ME, headers=person.headers)).status_code == 200


async def test_only_those_who_may_act_as_others_and_only_with_a_reason(orion: Orion) -> None:
    """A61."""
    person, other, admin, second = (
        await orion.sign_up(),
        await orion.sign_up(),
        await orion.admin(),
        await orion.admin(),
    )
    path = f"{AUTH}/admin/users/{person.id}/impersonate"

    forbidden = await orion.http.post(path, headers=other.headers, json=WHY)
    nobody = await orion.http.post(path, json=WHY)
    silent = await orion.http.post(path, headers=admin.headers, json={"reason": ""})
    over = await orion.http.post(f"{AUTH}/admin/users/{second.id}/impersonate", headers=admin.headers, json=WHY)

    assert (forbidden.status_code, nobody.status_code) == (403, 401)
    assert (silent.status_code, [error["field"] for error in silent.json()["errors"]]) == (422, ["reason"])
    assert (over.status_code, over.json()["code"]) == (403, "auth.not_impersonable")
