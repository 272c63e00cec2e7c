"""A person who is erased is gone from every service, and may come back as somebody new."""

from __future__ import annotations

import asyncio
import secrets
from uuid import UUID

import pytest
from stored import files, places

from orion_core.contracts.users import NoSuchPerson, UserErased, Users
from orion_core.testing import Orion

pytestmark = pytest.mark.reaches("local", "wire", "processes")

ME = "/api/v1/users/me"
PASSWORD = "correct horse battery"


async def until_gone(orion: Orion, planted: list[str]) -> list[str]:
    """What is still there after everything has had its time."""
    found = []
    for _ in range(100):
        await orion.settle()
        found = await places(orion, planted) or files(orion, planted)
        if not found:
            break
        await asyncio.sleep(0.1)
    return found


def planted() -> dict[str, str]:
    """Values that nothing else in any database can be."""
    names = (
        *("email", "name", "first_name", "last_name", "bio", "preference", "key", "agent", "request", "trace"),
        *("visitor", "fact", "property", "value", "bucket", "object", "content", "prefix"),
    )
    return {name: f"{name.replace('_', '')}{secrets.token_hex(8)}" for name in names}


async def test_nothing_of_an_erased_person_is_left_in_any_database_or_file(orion: Orion) -> None:
    """U36: compares every cell of every table, and the bytes of every file."""
    value = planted()
    origin = {
        "user-agent": value["agent"],
        "x-request-id": value["request"],
        "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        "tracestate": f"planted={value['trace']}",
    }
    registration = {"email": f"{value['email']}@example.org", "password": PASSWORD, "name": value["name"]}
    opened = await orion.http.post("/api/v1/auth/register", json=registration, headers=origin)
    headers = {**origin, "authorization": f"Bearer {opened.json()['access_token']}"}
    await orion.settle()
    change = {name: value[name] for name in ("first_name", "last_name", "bio")}
    bucket = f"/api/v1/storage/buckets/{value['bucket']}"
    event = {
        "name": value["fact"],
        "message_id": value["visitor"],
        "anonymous_id": value["visitor"],
        "properties": {value["property"]: value["value"]},
    }
    answers = [
        await orion.http.request(method, path, headers=headers, **body)
        for method, path, body in (
            ("PATCH", ME, {"json": change}),
            ("PUT", f"{ME}/preferences/planted.{value['key']}", {"json": {"value": value["preference"]}}),
            ("POST", "/api/v1/analytics/events", {"json": {"events": [event]}}),
            ("POST", "/api/v1/storage/buckets", {"json": {"name": value["bucket"], "sensitivity": "personal"}}),
            ("PUT", f"{bucket}/objects/{value['object']}.txt", {"content": value["content"].encode()}),
            ("GET", f"{bucket}/objects/{value['object']}.txt", {}),
            (
                "POST",
                f"{bucket}/grants",
                {"json": {"subject": "everybody", "right": "read", "prefix": value["prefix"]}},
            ),
        )
    ]
    await orion.settle()
    assert [answer.status_code // 100 for answer in answers] == [2] * len(answers), answers[-1].text
    before = await places(orion, list(value.values()))
    assert {"analytics", "auth", "notifications", "search", "storage", "users"} <= {
        place.partition(":")[0] for place in before
    }
    assert files(orion, [value["content"]])

    erased = await orion.http.delete(ME, headers=headers)

    assert (erased.status_code, erased.content) == (204, b"")
    assert await until_gone(orion, list(value.values())) == []


async def test_an_erased_person_can_neither_sign_in_nor_use_old_tokens(orion: Orion) -> None:
    """U36."""
    person = await orion.sign_up()
    await orion.settle()

    await orion.http.delete(ME, headers=person.headers)
    await orion.settle()

    refreshed = await orion.http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
    signed_in = await orion.http.post("/api/v1/auth/login", json={"email": person.email, "password": person.password})
    read = await orion.http.get(ME, headers=person.headers)
    assert (refreshed.status_code, refreshed.json()["code"]) == (400, "auth.invalid_grant")
    assert (signed_in.status_code, signed_in.json()["code"]) == (401, "auth.invalid_credentials")
    assert read.status_code == 401


async def test_the_address_of_an_erased_person_is_free_again(orion: Orion) -> None:
    """U36."""
    person = await orion.sign_up(name="Ada")
    await orion.settle()
    await orion.http.delete(ME, headers=person.headers)
    await orion.settle()

    again = await orion.sign_up(email=person.email, name="Grace")
    await orion.settle()

    profile = (await orion.http.get(ME, headers=again.headers)).json()
    assert again.id != person.id
    assert (profile["user_id"], profile["name"], profile["email"]) == (str(again.id), "Grace", person.email)


async def test_an_erasure_is_told_once(orion: Orion) -> None:
    """U36."""
    person, admin = await orion.sign_up(), await orion.admin()
    await orion.settle()

    first = await orion.http.delete(f"/api/v1/users/{person.id}", headers=admin.headers)
    second = await orion.http.delete(f"/api/v1/users/{person.id}", headers=admin.headers)
    await orion.settle()

    assert (first.status_code, second.status_code) == (204, 204)
    assert [event.user_id for event in await orion.told(UserErased) if event.user_id == person.id] == [person.id]


async def test_somebody_who_is_erased_before_their_profile_came_never_gets_one(orion: Orion) -> None:
    """U3: whichever of the two arrives first."""
    person = await orion.sign_up(name="Ada")

    erased = await orion.http.delete(ME, headers=person.headers)
    await orion.settle()

    admin = await orion.admin()
    read = await orion.http.get(f"/api/v1/users/{person.id}", headers=admin.headers)
    assert erased.status_code == 204
    assert (read.status_code, read.json()["code"]) == (404, "users.not_found")


async def test_others_keep_what_is_theirs(orion: Orion) -> None:
    """U36."""
    value = planted()
    other = await orion.sign_up(email=f"{value['email']}@example.org", name=value["name"])
    person = await orion.sign_up()
    await orion.settle()

    await orion.http.delete(ME, headers=person.headers)
    await orion.settle()

    profile = await orion.http.get(ME, headers=other.headers)
    notices = await orion.http.get("/api/v1/notifications", headers=other.headers)
    assert (profile.status_code, profile.json()["name"]) == (200, value["name"])
    assert [notice["type"] for notice in notices.json()["items"]] == ["user.welcome"]


async def test_only_those_who_may_can_erase_others(orion: Orion) -> None:
    """U10."""
    person, other = await orion.sign_up(), await orion.sign_up()
    await orion.settle()

    hidden = await orion.http.delete(f"/api/v1/users/{person.id}", headers=other.headers)
    nobody = await orion.http.delete(f"/api/v1/users/{person.id}")
    unknown = await orion.http.delete(f"/api/v1/users/{UUID(int=7)}", headers=(await orion.admin()).headers)

    assert [answer.status_code for answer in (hidden, nobody, unknown)] == [404, 401, 404]
    assert (await orion.http.get(ME, headers=person.headers)).status_code == 200


async def test_the_contract_says_the_same(orion: Orion) -> None:
    person, admin = await orion.sign_up(), await orion.admin()
    await orion.settle()
    users = orion.service(Users)

    with orion.acting_as(person):
        await users.erase(person.id)
        with pytest.raises(NoSuchPerson):
            await users.me()
    with orion.acting_as(admin, "users:*"), pytest.raises(NoSuchPerson):
        await users.get(person.id)
