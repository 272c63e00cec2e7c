"""Administrators and lists, activity, and who read about whom, as every reach shows them."""

from __future__ import annotations

import secrets
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from orion_core.contracts.users import NewProfile, PeopleQuery, ProfileChanged, ProfileExists, Users
from orion_core.errors import Forbidden, Invalid, Malformed, Unauthenticated
from orion_core.ids import new_id
from orion_core.testing import Orion, Person

pytestmark = pytest.mark.reaches("local", "wire", "processes")

USERS = "/api/v1/users"


async def somebody(orion: Orion, **given: str) -> Person:
    person = await orion.sign_up(**given)
    await orion.settle()
    return person


async def log_of(orion: Orion, person: Person) -> list[tuple[str, list[str], str]]:
    """Who read about the person, oldest first."""
    answer = await orion.http.get(f"{USERS}/me/access-log", headers=person.headers)
    assert answer.status_code == 200
    return [(item["actor"], item["fields"], item["purpose"]) for item in reversed(answer.json()["items"])]


async def feed_of(orion: Orion, person: Person, **params: Any) -> list[dict[str, Any]]:
    answer = await orion.http.get(f"{USERS}/me/activity", params=params, headers=person.headers)
    assert answer.status_code == 200
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def fields(answer: httpx.Response) -> dict[str, str]:
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


async def test_an_administrator_makes_a_profile_by_hand_once(orion: Orion) -> None:
    """U4."""
    admin, account = await orion.admin(), new_id()
    body = {"user_id": str(account), "name": " Ada ", "email": "ada@example.org", "version": 7, "state": "erased"}

    made = await orion.http.post(USERS, json=body, headers=admin.headers)
    again = await orion.http.post(USERS, json=body, headers=admin.headers)
    read = await orion.http.get(made.headers["location"], headers=admin.headers)
    await orion.settle()

    assert (made.status_code, made.json()["name"], made.json()["version"]) == (201, "Ada", 1)
    assert (again.status_code, again.json()["code"]) == (409, "users.profile_exists")
    assert (read.json(), read.headers["etag"]) == (made.json(), made.headers["etag"])
    assert [event.changed for event in await orion.told(ProfileChanged) if event.user_id == account] == [("name",)]


async def test_making_profiles_needs_a_permission(orion: Orion) -> None:
    """U4."""
    person = await somebody(orion)
    body = {"user_id": str(uuid4())}

    forbidden = await orion.http.post(USERS, json=body, headers=person.headers)
    nobody = await orion.http.post(USERS, json=body)
    hostile = await orion.http.post(
        USERS, json={"user_id": "x", "name": "\u202e"}, headers=(await orion.admin()).headers
    )

    assert (forbidden.status_code, nobody.status_code, hostile.status_code) == (403, 401, 422)


async def test_an_administrator_changes_others_and_nobody_else_does(orion: Orion) -> None:
    """U10, U6."""
    person, other, admin = await somebody(orion), await somebody(orion), await orion.admin()
    theirs = f"{USERS}/{person.id}"
    etag = (await orion.http.get(theirs, headers=admin.headers)).headers["etag"]

    hidden = await orion.http.patch(theirs, json={"name": "Eve"}, headers=other.headers)
    changed = await orion.http.patch(theirs, json={"name": "Ada"}, headers={**admin.headers, "if-match": etag})
    stale = await orion.http.patch(theirs, json={"name": "Eve"}, headers={**admin.headers, "if-match": etag})
    own = await orion.http.patch(theirs, json={"bio": "Engines"}, headers=person.headers)

    assert [answer.status_code for answer in (hidden, changed, stale, own)] == [404, 200, 412, 200]
    assert (own.json()["name"], own.json()["bio"]) == ("Ada", "Engines")


async def test_people_are_found_in_the_order_asked_and_the_missing_are_named(orion: Orion) -> None:
    """U4."""
    first, second, admin = await somebody(orion), await somebody(orion), await orion.admin()
    unknown = uuid4()
    ids = [str(each) for each in (second.id, unknown, first.id, second.id)]

    answer = await orion.http.post(f"{USERS}/find", json={"ids": ids}, headers=admin.headers)
    hidden = await orion.http.post(f"{USERS}/find", json={"ids": ids}, headers=first.headers)
    many = await orion.http.post(f"{USERS}/find", json={"ids": [str(uuid4())] * 501}, headers=admin.headers)

    assert [item["user_id"] for item in answer.json()["items"]] == [str(second.id), str(first.id)]
    assert answer.json()["missing"] == [str(unknown)]
    assert [item["user_id"] for item in hidden.json()["items"]] == [str(first.id)]
    assert hidden.json()["missing"] == [str(second.id), str(unknown)]
    assert (many.status_code, fields(many)) == (422, {"ids": "too_long"})


async def test_a_walk_over_all_pages_shows_everybody_once(orion: Orion) -> None:
    """U10: keyset pages, whoever comes meanwhile."""
    mark = secrets.token_hex(6)
    people = [await orion.sign_up(email=f"{mark}-{number}@example.org") for number in range(5)]
    await orion.settle()
    admin = await orion.admin()
    found, cursor = [], ""
    while True:
        page = await orion.http.get(
            USERS, params={"cursor": cursor, "limit": 2, "email": mark.upper()}, headers=admin.headers
        )
        assert page.status_code == 200
        found += [item["user_id"] for item in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break

    assert found == [str(person.id) for person in people]


@pytest.mark.parametrize("hostile", ["%", "_", "\\", "%' OR 1=1 --", '"', "\u0000x"])
async def test_beginnings_are_literal(orion: Orion, hostile: str) -> None:
    """U10: nothing widens a list."""
    await somebody(orion, name="Ada")
    admin = await orion.admin()

    for field in ("name", "email"):
        answer = await orion.http.get(USERS, params={field: hostile}, headers=admin.headers)
        assert answer.status_code in (200, 422)
        assert answer.status_code == 422 or answer.json()["items"] == []


async def test_a_list_shows_what_single_reads_would(orion: Orion) -> None:
    """U10."""
    person, other = await somebody(orion), await somebody(orion)

    mine = await orion.http.get(USERS, headers=person.headers)
    nobody = await orion.http.get(USERS)
    wrong = await orion.http.get(USERS, params={"email": other.email}, headers=person.headers)

    assert [item["user_id"] for item in mine.json()["items"]] == [str(person.id)]
    assert (nobody.status_code, wrong.json()) == (401, {"items": [], "next_cursor": None})


@pytest.mark.parametrize("cursor", ["x", "A" * 21, "A" * 22 + "=", "*" * 22, "A" * 32])
async def test_a_cursor_from_elsewhere_is_400(orion: Orion, cursor: str) -> None:
    person = await somebody(orion)

    for path in ("", "/me/activity", "/me/access-log"):
        answer = await orion.http.get(USERS + path, params={"cursor": cursor}, headers=person.headers)
        # Any bytes of the right length could be an id, and then there is nothing after it.
        assert answer.status_code in (200, 400)
        assert answer.status_code == 200 or answer.json()["code"] == "malformed"


async def test_public_profiles_are_hidden_unless_the_deployment_shows_them(orion: Orion) -> None:
    """U10."""
    person, other, admin = await somebody(orion, name="Ada"), await somebody(orion), await orion.admin()
    path = f"{USERS}/{person.id}/public"

    hidden = await orion.http.get(path, headers=other.headers)
    own = await orion.http.get(path, headers=person.headers)
    shown = await orion.http.get(path, headers=admin.headers)

    assert hidden.status_code == 404
    assert own.json() == shown.json() == {"user_id": str(person.id), "name": "Ada", "avatar_url": ""}


async def test_every_reading_of_somebody_else_is_recorded(orion: Orion) -> None:
    """U33."""
    person, admin = await somebody(orion), await orion.admin()
    await orion.settle()
    theirs = f"{USERS}/{person.id}"

    await orion.http.get(theirs, headers=admin.headers)
    await orion.http.post(f"{USERS}/find", json={"ids": [str(person.id)]}, headers=admin.headers)
    await orion.http.get(USERS, params={"email": person.email}, headers=admin.headers)
    await orion.http.patch(theirs, json={"bio": "Engines"}, headers=admin.headers)
    await orion.http.get(f"{theirs}/activity", headers=admin.headers)
    await orion.http.get(f"{theirs}/access-log", headers=admin.headers)

    log = await log_of(orion, person)
    assert {actor for actor, _, _ in log} == {f"user:{admin.id}"}
    # What may be repeated is repeated where a lost answer is asked for again, and is a reading each time.
    assert [purpose for purpose, _ in groupby(purpose for _, _, purpose in log)] == [
        "users.get",
        "users.find",
        "users.search",
        "users.change",
        "users.activity",
        "users.readings",
    ]
    assert {"email", "name", "bio"} <= set(log[0][1])
    assert ["activity"] in [shown for _, shown, _ in log]
    assert log[-1][1] == ["access_log"]


async def test_reading_about_oneself_is_not_recorded(orion: Orion) -> None:
    """U33."""
    person = await somebody(orion)

    for path in ("/me", f"/{person.id}", "", "/me/activity", "/me/preferences", "/me/access-log"):
        await orion.http.get(USERS + path, headers=person.headers)

    assert await log_of(orion, person) == []


async def test_what_a_person_did_and_what_happened_to_them_is_in_their_feed(orion: Orion) -> None:
    """U28: facts of other services arrive by events."""
    person = await somebody(orion)
    headers = {**person.headers, "user-agent": "reader/1", "x-request-id": f"req-{person.id}"}
    await orion.http.patch(f"{USERS}/me", json={"bio": "Engines"}, headers=headers)
    await orion.settle()

    feed = await feed_of(orion, person)

    actions = [item["action"] for item in feed]
    assert actions[0] == "user.profile_changed"
    assert {"user.registered", "auth.session_started", "notification.sent"} <= set(actions)
    assert len(actions) == len(set(actions))
    own = feed[0]
    assert (own["actor"], own["user_agent"]) == (f"user:{person.id}", "reader/1")
    assert own["metadata"] == {"fields": ["bio"]}
    assert own["correlation_id"] == f"req-{person.id}"
    assert own["ip_address"]
    assert [item["timestamp"] for item in feed] == sorted((item["timestamp"] for item in feed), reverse=True)


async def test_pages_of_a_feed_have_neither_gaps_nor_repeats(orion: Orion) -> None:
    """U28: while it grows."""
    person = await somebody(orion)
    for number in range(6):
        await orion.http.patch(f"{USERS}/me", json={"bio": f"{number}"}, headers=person.headers)
    action = "user.profile_changed"
    before = [item["id"] for item in await feed_of(orion, person, action=action)]

    walked, cursor = [], ""
    while True:
        page = await orion.http.get(
            f"{USERS}/me/activity",
            params={"cursor": cursor, "limit": 2, "action": action},
            headers=person.headers,
        )
        walked += [item["id"] for item in page.json()["items"]]
        await orion.http.patch(f"{USERS}/me", json={"bio": f"later {cursor}"}, headers=person.headers)
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break

    assert walked == before


async def test_activity_cannot_be_changed(orion: Orion) -> None:
    """U29."""
    person = await somebody(orion)
    [entry, *_] = await feed_of(orion, person)

    for method in ("PUT", "PATCH", "DELETE", "POST"):
        for path in ("/me/activity", f"/me/activity/{entry['id']}"):
            answer = await orion.http.request(method, USERS + path, json={}, headers=person.headers)
            assert answer.status_code in (404, 405)


async def test_the_contract_says_the_same_as_the_routes(orion: Orion) -> None:
    person, account = await somebody(orion), new_id()
    users = orion.service(Users)

    with orion.acting_as(uuid4(), "users:create", "users:read"):
        made = await users.create(NewProfile(account, name=f"Grace {account}"))
        with pytest.raises(ProfileExists):
            await users.create(NewProfile(account))
        found = await users.find((account, UUID(int=7)))
        page = await users.search(PeopleQuery(name=f"grace {account}", limit=1))
        with pytest.raises(Malformed):
            await users.search(PeopleQuery(cursor="x"))
        with pytest.raises(Forbidden):
            await users.erase(person.id)
    with orion.acting_as(person):
        with pytest.raises(Invalid):
            await users.activity(person.id, "", 201)
        readings = await users.readings(person.id, "", 10)

    assert (found.items, found.missing) == ((made,), (UUID(int=7),))
    assert (page.items, page.next_cursor) == ((made,), None)
    assert readings.items == ()


async def test_nobody_sees_nothing(orion: Orion) -> None:
    """U10."""
    person = await somebody(orion)

    for path in (
        "/me",
        f"/{person.id}",
        "",
        "/me/activity",
        "/me/preferences",
        f"/{person.id}/public",
        f"/{person.id}/preferences",
        f"/{person.id}/activity",
        f"/{person.id}/access-log",
    ):
        answer = await orion.http.get(USERS + path)
        assert (answer.status_code, answer.json()["code"]) == (401, Unauthenticated.code)
