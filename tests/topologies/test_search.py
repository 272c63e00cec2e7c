"""Finding people, as every reach shows it."""

from __future__ import annotations

import json
import secrets
from typing import Any
from uuid import uuid4

import httpx
import pytest

from orion_core.context import ANONYMOUS, SYSTEM, acting
from orion_core.contracts.search import NoSuchIndex, NoSuchTask, Query, Search
from orion_core.contracts.users import Users
from orion_core.errors import Forbidden, Malformed, Unauthenticated
from orion_core.json_value import Json
from orion_core.testing import Orion, Person

pytestmark = pytest.mark.reaches("local", "wire", "processes")

SEARCH = "/api/v1/search"
ADMIN = "/api/v1/search/admin"


def word() -> str:
    """A word that nobody else has."""
    return "q" + "".join(secrets.choice("bcdfghjklmnp") for _ in range(12))


async def person_called(orion: Orion, name: str) -> Person:
    person = await orion.sign_up(name=name)
    await orion.settle()
    return person


async def search(orion: Orion, who: Person, q: str = "", **params: Any) -> httpx.Response:
    return await orion.http.get(SEARCH, params={"index": "users", "q": q, **params}, headers=who.headers)


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_a_registered_person_is_found_by_the_beginning_of_the_name_and_by_phrase(orion: Orion) -> None:
    """S1, S15, S16, S23."""
    family = word()
    person = await person_called(orion, f"Ada {family.title()}")

    for q in (family, family[:6], f"ada {family[:4]}", f'"ada {family}"'):
        answer = await search(orion, person, q)
        assert ids(answer) == [str(person.id)], q
        assert answer.json()["total"] == 1
    item = (await search(orion, person, family)).json()["items"][0]
    assert item["fields"]["name"] == f"Ada {family.title()}"
    assert item["highlights"][0] == {
        "field": "name",
        "html": f"Ada <mark>{family.title()}</mark>",
        "offsets": [{"start": 4, "end": 4 + len(family)}],
    }
    assert ids(await search(orion, person, f'"{family} ada"')) == []


async def test_a_changed_profile_is_found_by_what_it_says_now(orion: Orion) -> None:
    """S2."""
    old, new = word(), word()
    person = await person_called(orion, old)

    changed = await orion.http.patch(
        "/api/v1/users/me", json={"name": new, "bio": "wrote about engines"}, headers=person.headers
    )
    assert changed.status_code == 200
    await orion.settle()

    assert ids(await search(orion, person, f"{new} ")) == [str(person.id)]
    assert ids(await search(orion, person, f"{old} ")) == []
    assert ids(await search(orion, person, "engine", filter=f'email eq "{person.email}"')) == [str(person.id)]


async def test_who_finds_somebody_else_is_recorded_as_their_reader(orion: Orion) -> None:
    """U33: by a person's own search, and by one that shows nothing, nobody is shown."""
    family = word()
    person = await person_called(orion, f"Ada {family}")
    admin = await orion.admin()

    await search(orion, person, family)
    assert (await search(orion, admin, family, limit=0)).json()["total"] == 1
    assert ids(await search(orion, admin, family)) == [str(person.id)]
    await orion.settle()

    log = (await orion.http.get("/api/v1/users/me/access-log", headers=person.headers)).json()["items"]
    # What may be repeated is repeated where a lost answer is asked for again, and is a reading each time.
    assert {(each["actor"], each["purpose"]) for each in log} == {(f"user:{admin.id}", "search.find")}
    assert {"name", "email"} <= {*log[0]["fields"]}
    assert log[0]["correlation_id"]


async def test_others_are_found_by_administrators_only(orion: Orion) -> None:
    """S21."""
    family = word()
    one, other = await person_called(orion, f"Ada {family}"), await person_called(orion, f"Grace {family}")
    admin = await orion.admin()

    assert ids(await search(orion, one, family)) == [str(one.id)]
    assert (await search(orion, one, family, limit=0)).json()["total"] == 1
    assert sorted(ids(await search(orion, admin, family))) == sorted([str(one.id), str(other.id)])
    assert (await search(orion, admin, family, limit=0)).json() == {"items": [], "total": 2, "next_cursor": None}


async def test_hits_with_all_words_come_first(orion: Orion) -> None:
    """S12."""
    first, family = word(), word()
    both = await person_called(orion, f"{first} {family}")
    half = await person_called(orion, first)
    admin = await orion.admin()

    assert ids(await search(orion, admin, f"{family} {first} ")) == [str(both.id), str(half.id)]
    assert ids(await search(orion, admin, f"{family} {first} ", mode="all")) == [str(both.id)]
    assert ids(await search(orion, admin, f"{first} -{family}")) == [str(half.id)]


async def test_pages_are_disjoint_and_together_everything(orion: Orion) -> None:
    """S13."""
    family = word()
    people = [str((await orion.sign_up(name=f"Ada {family}")).id) for _ in range(5)]
    await orion.settle()
    admin = await orion.admin()

    seen, cursor = [], ""
    while True:
        page = (await search(orion, admin, family, limit=2, cursor=cursor)).json()
        assert page["total"] == 5
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(people)
    assert ids(await search(orion, admin, family, limit=3, offset=2)) == seen[2:]


async def test_hits_are_filtered_and_sorted_by_declared_fields(orion: Orion) -> None:
    """S19."""
    family = word()
    one, two, three = [await person_called(orion, f"{name} {family}") for name in ("beta", "Alpha", "gamma")]
    admin = await orion.admin()

    assert ids(await search(orion, admin, family, sort="name")) == [str(two.id), str(one.id), str(three.id)]
    assert ids(await search(orion, admin, family, sort="-created_at")) == [str(three.id), str(two.id), str(one.id)]
    wanted = f'name sw "ALPHA {family}" or email eq "{three.email.upper()}"'
    assert sorted(ids(await search(orion, admin, filter=wanted))) == sorted([str(two.id), str(three.id)])


@pytest.mark.parametrize(
    ("params", "status", "field", "said"),
    [
        ({"index": "nothing"}, 404, None, "there is no index"),
        ({"filter": 'bio eq "x"'}, 400, "filter", "at character 1: bio is no field"),
        ({"filter": "name eq 5"}, 400, "filter", "at character 9: name is compared with text"),
        ({"filter": 'name eq "a'}, 400, "filter", "at character 9"),
        ({"sort": "bio"}, 400, "sort", "bio is no field to sort by"),
        ({"q": "x" * 1025}, 400, "q", "at most 1024 characters"),
        ({"q": "a " * 33}, 400, "q", "at most 32 words"),
        ({"offset": 1000}, 400, "offset", "only the first 1000"),
        ({"cursor": "x"}, 400, "cursor", "next_cursor"),
        ({"cursor": "x", "offset": 1}, 400, "offset", "not both"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    orion: Orion, params: dict[str, Any], status: int, field: str | None, said: str
) -> None:
    """S13, S19, S22."""
    person = await orion.sign_up()

    answer = await orion.http.get(SEARCH, params={"index": "users", **params}, headers=person.headers)

    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert [error["field"] for error in answer.json().get("errors", [])] == ([field] if field else [])


@pytest.mark.parametrize("params", [{"limit": 201}, {"limit": -1}, {"offset": -1}, {"mode": "some"}, {"limit": "x"}])
async def test_parameters_out_of_range_are_refused(orion: Orion, params: dict[str, Any]) -> None:
    """S13."""
    person = await orion.sign_up()

    answer = await orion.http.get(SEARCH, params={"index": "users", **params}, headers=person.headers)

    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "q", ['"', "*", "NEAR(zz zy)", "name:zz", "^zz", "zx | zy & !zz:*", "\x00", "-", "' OR 1=1 --", "(" * 99]
)
async def test_signs_of_databases_are_signs_and_nothing_else(orion: Orion, q: str) -> None:
    """S22."""
    person = await person_called(orion, word())

    answer = await search(orion, person, q)

    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == 0


async def test_nobody_searches_without_signing_in(orion: Orion) -> None:
    """S21."""
    answer = await orion.http.get(SEARCH, params={"index": "users", "q": "ada"})

    assert answer.status_code == 401
    with acting(ANONYMOUS), pytest.raises(Unauthenticated):
        await orion.service(Search).find(Query("users", "ada"))


async def test_people_may_not_administer(orion: Orion) -> None:
    """S21."""
    person = await orion.sign_up()

    for method, path in (
        ("GET", "/indexes"),
        ("GET", "/tasks"),
        ("GET", f"/tasks/{uuid4()}"),
        ("POST", "/indexes/users/rebuild"),
        ("POST", "/indexes/users/documents"),
    ):
        answer = await orion.http.request(method, ADMIN + path, headers=person.headers)
        assert answer.status_code == 403, path
    with orion.acting_as(person), pytest.raises(Forbidden):
        await orion.service(Search).rebuild("users")


async def test_a_rebuild_by_an_administrator_keeps_everybody(orion: Orion) -> None:
    """S5."""
    family = word()
    person = await person_called(orion, family)
    admin = await orion.admin()

    answer = await orion.http.post(f"{ADMIN}/indexes/users/rebuild", headers=admin.headers)
    assert answer.status_code == 202, answer.text
    await orion.settle()

    report = (await orion.http.get(f"{ADMIN}/tasks/{answer.json()['id']}", headers=admin.headers)).json()
    assert report["task"]["status"] == "succeeded"
    assert report["task"]["done"] >= 1
    assert ids(await search(orion, person, family)) == [str(person.id)]
    indexes = (await orion.http.get(f"{ADMIN}/indexes", headers=admin.headers)).json()
    [users] = [item for item in indexes if item["name"] == "users"]
    assert (users["service"], users["building"]) == ("users", None)
    assert users["documents"] >= 1
    tasks = (await orion.http.get(f"{ADMIN}/tasks", params={"limit": 1}, headers=admin.headers)).json()
    assert len(tasks["items"]) == 1


async def test_documents_sent_as_lines_are_taken_or_refused_one_by_one(orion: Orion) -> None:
    """S3."""
    family, document = word(), str(uuid4())
    admin = await orion.admin()
    lines = [{"id": document, "version": 1, "name": family}, {"id": document}, {"id": "x", "version": 1, "name": 7}]
    body = "\n".join(json.dumps(line) for line in lines)

    answer = await orion.http.post(
        f"{ADMIN}/indexes/users/documents",
        content=body,
        headers={**admin.headers, "Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 202, answer.text
    await orion.settle()

    report = (await orion.http.get(f"{ADMIN}/tasks/{answer.json()['id']}", headers=admin.headers)).json()
    assert [outcome["accepted"] for outcome in report["outcomes"]] == [True, False, False]
    assert ids(await search(orion, admin, family)) == [document]
    large = json.dumps({"id": str(uuid4()), "version": 1, "bio": "x" * 4_000_000})
    taken = await orion.http.post(f"{ADMIN}/indexes/users/documents", content=large, headers=admin.headers)
    assert taken.status_code == 202, taken.text
    bad = await orion.http.post(f"{ADMIN}/indexes/users/documents", content="{", headers=admin.headers)
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (400, "lines.1")


async def test_an_erased_person_is_found_no_more(orion: Orion) -> None:
    """S31."""
    family = word()
    person = await person_called(orion, family)
    admin = await orion.admin()

    gone = await orion.http.delete("/api/v1/users/me", headers=person.headers)
    assert gone.status_code in (202, 204), gone.text
    await orion.settle()

    assert ids(await search(orion, admin, family)) == []
    assert (await search(orion, admin, f"id {person.id} {family}", limit=0, mode="all")).json()["total"] == 0


async def test_an_owner_gives_all_its_documents_to_services_only(orion: Orion) -> None:
    """S5, S9: what a rebuild asks for is nothing that people may read."""
    person = await person_called(orion, word())
    users = orion.service(Users)

    with acting(SYSTEM):
        seen, cursor = [], ""
        while True:
            page = await users.pages(cursor)
            seen += [document.plain() for document in page.documents]
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        with pytest.raises(Malformed):
            await users.pages("x")
    [mine] = [document for document in seen if document["id"] == str(person.id)]
    assert mine["email"] == person.email
    with orion.acting_as(person), pytest.raises(Forbidden):
        await users.pages("")


async def test_the_contract_answers_as_the_routes_do(orion: Orion) -> None:
    """S13, S21."""
    family = word()
    person = await person_called(orion, family)
    service = orion.service(Search)

    with orion.acting_as(person):
        found = await service.find(Query("users", family))
        assert [hit.id for hit in found.items] == [str(person.id)]
        assert isinstance(found.items[0].fields, Json)
        with pytest.raises(NoSuchIndex):
            await service.find(Query("nothing"))
        with pytest.raises(Malformed):
            await service.find(Query("users", sort="bio"))
    with acting(SYSTEM), pytest.raises(NoSuchTask):
        await service.task(uuid4())
