"""What people prefer, as every reach shows it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from orion_core.contracts.users import PreferenceChange, PreferencesChanged, PreferencesTooLarge, Users
from orion_core.errors import Invalid, PreconditionFailed
from orion_core.json_value import Json
from orion_core.testing import Orion, Person

pytestmark = pytest.mark.reaches("local", "wire", "processes")

MINE = "/api/v1/users/me/preferences"


async def somebody(orion: Orion) -> Person:
    person = await orion.sign_up()
    await orion.settle()
    return person


async def put(orion: Orion, person: Person, key: str, value: Any, type_: str | None = None, **headers: str) -> Any:
    body = {"value": value} | ({} if type_ is None else {"type": type_})
    return await orion.http.put(f"{MINE}/{key}", json=body, headers={**person.headers, **headers})


async def patch(orion: Orion, person: Person, body: Any) -> httpx.Response:
    return await orion.http.patch(MINE, content=json.dumps(body), headers={**person.headers, **JSON})


async def values(orion: Orion, person: Person) -> dict[str, Any]:
    """What the person has set, by key."""
    answer = await orion.http.get(MINE, headers=person.headers)
    assert answer.status_code == 200
    return {item["key"]: item["value"] for item in answer.json()["items"] if not item["default"]}


def fields(answer: httpx.Response) -> dict[str, str]:
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("value", "type_", "kept"),
    [
        (True, "boolean", "true"),
        (1, "integer", "1"),
        (9007199254740993, "integer", "9007199254740993"),
        (-(10**30), "integer", str(-(10**30))),
        (1.5, "number", "1.5"),
        (2, "number", "2"),
        ("", "string", '""'),
        ("null", "string", '"null"'),
        ("\u0000 \U0001f600 %_\\'\"", "string", json.dumps("\u0000 \U0001f600 %_\\'\"")),
        (None, "json", "null"),
        ({"a": [1, {"b": None}], "": False}, "json", '{"a": [1, {"b": null}], "": false}'),
        ("2026-11-22T09:30:00+01:00", "timestamp", '"2026-11-22T08:30:00Z"'),
    ],
)
async def test_a_value_comes_back_as_it_was(orion: Orion, value: Any, type_: str, kept: str) -> None:
    """U12, U13: a time keeps its instant."""
    person = await somebody(orion)

    written = await put(orion, person, "planted.value", value, type_)
    read = await orion.http.get(f"{MINE}/planted.value", headers=person.headers)

    assert (written.status_code, read.status_code) == (200, 200)
    assert written.json() == read.json()
    assert json.dumps(read.json()["value"]) == json.dumps(json.loads(kept))
    assert (read.json()["type"], read.json()["default"]) == (type_, False)


async def test_the_type_of_a_key_nobody_declares_is_that_of_its_value(orion: Orion) -> None:
    """U12."""
    person = await somebody(orion)

    answer = await patch(
        orion, person, {"a": {"value": 1}, "b": {"value": [1]}, "c": {"value": 1.0}, "d.e": {"value": "x"}}
    )

    types = {item["key"]: item["type"] for item in answer.json()["items"]}
    assert types == {"a": "integer", "b": "json", "c": "number", "d.e": "string"}


async def test_every_bad_key_of_a_patch_is_named_and_nothing_is_written(orion: Orion) -> None:
    """U12, U15."""
    person = await somebody(orion)

    answer = await patch(
        orion,
        person,
        {
            "good": {"value": 1},
            "bad.type": {"value": "1", "type": "integer"},
            "bad.time": {"value": "yesterday", "type": "timestamp"},
            "bad.flag": {"value": 1, "type": "boolean"},
        },
    )
    shapes = await patch(
        orion,
        person,
        {"good": {"value": 1}, "1bad": {"value": 1}, "b": 5, "c": {}, "d": {"value": 1, "typo": 2}, "1" * 129: None},
    )

    assert answer.status_code == shapes.status_code == 422
    assert set(fields(answer)) == {"bad.type", "bad.time", "bad.flag"}
    assert set(fields(shapes)) == {"1bad", "b", "c.value", "d.typo", "1" * 128}
    assert await values(orion, person) == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"a": {"value": 1}', b"\xff"])
async def test_a_body_that_is_no_json_is_400(orion: Orion, body: bytes) -> None:
    person = await somebody(orion)

    answer = await orion.http.patch(MINE, content=body, headers={**person.headers, **JSON})

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_a_key_or_member_that_cannot_be_encoded_is_refused_by_name(orion: Orion) -> None:
    """U12, U14: never a 500."""
    person = await somebody(orion)

    half = await orion.http.patch(MINE, content=b'{"\\ud800": {"value": 1}}', headers={**person.headers, **JSON})
    member = await orion.http.patch(
        MINE, content=b'{"a": {"value": 1, "\\ud800": 1}}', headers={**person.headers, **JSON}
    )

    assert (half.status_code, fields(half)) == (422, {"\\ud800": "pattern"})
    assert (member.status_code, fields(member)) == (422, {"a.\\ud800": "unknown"})


async def test_a_key_given_twice_is_refused_at_any_depth(orion: Orion) -> None:
    """U12: readers of JSON differ in which of the two counts (RFC 8259, section 4)."""
    person = await somebody(orion)

    for body, name in (
        (b'{"a": {"value": 1}, "a": {"value": 2}}', "a"),
        (b'{"a": {"value": 1, "value": 2}}', "value"),
        (b'{"a": {"value": {"b": 1, "b": 2}}}', "b"),
    ):
        answer = await orion.http.patch(MINE, content=body, headers={**person.headers, **JSON})
        assert (answer.status_code, fields(answer)) == (400, {name: "duplicate"})
    assert await values(orion, person) == {}


async def test_a_request_takes_no_more_changes_than_a_person_may_have_keys(orion: Orion) -> None:
    """U15, U16: no statement has parameters without end, and no answer is larger than its request."""
    person = await somebody(orion)

    most = await patch(orion, person, {f"k{number}": None for number in range(500)})
    more = await patch(orion, person, {f"k{number}": None for number in range(40_000)})
    wrong = await patch(orion, person, {f"{number}": 1 for number in range(40_000)})

    assert (most.status_code, most.json()) == (200, {"items": []})
    assert (more.status_code, fields(more)) == (422, {"changes": "too_long"})
    assert (wrong.status_code, len(wrong.json()["errors"])) == (422, 100)


async def test_what_has_no_form_in_json_or_is_nested_too_deep_is_refused(orion: Orion) -> None:
    person = await somebody(orion)

    for text in (
        '{"value": NaN}',
        '{"value": 1e999}',
        '{"value": "\\ud800"}',
        '{"value": ' + "[" * 40 + "]" * 40 + "}",
    ):
        answer = await orion.http.put(f"{MINE}/a", content=text, headers={**person.headers, **JSON})
        assert (answer.status_code, set(fields(answer))) == (422, {"a"})
    assert await values(orion, person) == {}


async def test_null_takes_a_key_back_and_others_stay(orion: Orion) -> None:
    """U14, U15."""
    person = await somebody(orion)
    await patch(orion, person, {"a": {"value": 1}, "b": {"value": 2}, "c": {"value": 3}})

    await patch(orion, person, {"a": None, "b": {"value": 5}})
    removed = await orion.http.delete(f"{MINE}/c", headers=person.headers)
    again = await orion.http.delete(f"{MINE}/c", headers=person.headers)

    assert (removed.status_code, again.status_code) == (204, 204)
    assert await values(orion, person) == {"b": 5}
    gone = await orion.http.get(f"{MINE}/c", headers=person.headers)
    assert (gone.status_code, gone.json()["code"]) == (404, "users.no_such_preference")


async def test_fifty_writers_of_fifty_keys_all_survive(orion: Orion) -> None:
    """U15."""
    person = await somebody(orion)

    answers = await asyncio.gather(*(put(orion, person, f"key.n{number}", number) for number in range(50)))

    assert [answer.status_code for answer in answers] == [200] * 50
    assert await values(orion, person) == {f"key.n{number}": number for number in range(50)}


async def test_of_two_writers_with_one_etag_one_wins(orion: Orion) -> None:
    """U15."""
    person = await somebody(orion)
    etag = (await put(orion, person, "theme", "light")).headers["etag"]

    answers = await asyncio.gather(*(put(orion, person, "theme", name, **{"if-match": etag}) for name in ("a", "b")))

    assert sorted(answer.status_code for answer in answers) == [200, 412]
    stale = await orion.http.delete(f"{MINE}/theme", headers={**person.headers, "if-match": etag})
    weak = await put(orion, person, "theme", "c", **{"if-match": f"W/{etag}"})
    missing = await put(orion, person, "other", "c", **{"if-match": "*"})
    assert [answer.status_code for answer in (stale, weak, missing)] == [412, 412, 412]


async def test_a_version_that_is_stale_in_a_patch_refuses_all_of_it(orion: Orion) -> None:
    """U15: also after the key was removed and set again."""
    person = await somebody(orion)
    first = (await put(orion, person, "a", 1)).json()["version"]
    await orion.http.delete(f"{MINE}/a", headers=person.headers)
    second = (await put(orion, person, "a", 1)).json()["version"]

    stale = await patch(orion, person, {"a": {"value": 2, "version": first}, "b": {"value": 2}})
    fresh = await patch(orion, person, {"a": {"value": 2, "version": second}, "b": {"value": 2, "version": 0}})

    assert (stale.status_code, fields(stale)) == (412, {"a": "stale"})
    assert fresh.status_code == 200
    assert await values(orion, person) == {"a": 2, "b": 2}


async def test_limits_of_size_answer_413_and_change_nothing(orion: Orion) -> None:
    """U16."""
    person = await somebody(orion)

    fits = await put(orion, person, "a", "x" * (8 * 1024 - 2))
    above = await put(orion, person, "a", "x" * (8 * 1024 - 1))
    many = await patch(orion, person, {f"k{number}": {"value": 0} for number in range(500)})
    large = await patch(orion, person, {f"l{number}": {"value": "x" * 8000} for number in range(8)})

    assert fits.status_code == 200
    for answer in (above, many, large):
        assert (answer.status_code, answer.json()["code"]) == (413, "users.preferences_too_large")
    assert await values(orion, person) == {"a": "x" * (8 * 1024 - 2)}


async def test_a_change_is_told_with_key_and_value(orion: Orion) -> None:
    """U16."""
    person = await somebody(orion)

    await patch(orion, person, {"a": {"value": 1}, "b": {"value": "x"}})
    await patch(orion, person, {"a": {"value": 1}, "b": None, "c": None})
    await orion.settle()

    told = [event for event in await orion.told(PreferencesChanged) if event.user_id == person.id]
    assert [[(each.key, each.value.plain(), each.removed) for each in event.changes] for event in told] == [
        [("a", 1, False), ("b", "x", False)],
        [("b", None, True)],
    ]


async def test_somebody_elses_preferences_need_permissions(orion: Orion) -> None:
    """U10, U33."""
    person, other, admin = await somebody(orion), await somebody(orion), await orion.admin()
    await put(orion, person, "a", 1)
    theirs = f"/api/v1/users/{person.id}/preferences"

    hidden = await orion.http.get(theirs, headers=other.headers)
    untouched = await orion.http.patch(theirs, json={"a": None}, headers=other.headers)
    read = await orion.http.get(theirs, params={"key": ["a", "zz"]}, headers=admin.headers)
    written = await orion.http.patch(theirs, json={"a": {"value": 2}}, headers=admin.headers)

    assert (hidden.status_code, untouched.status_code) == (404, 404)
    assert [item["value"] for item in read.json()["items"]] == [1]
    assert [item["value"] for item in written.json()["items"]] == [2]
    log = (await orion.http.get("/api/v1/users/me/access-log", headers=person.headers)).json()["items"]
    assert {(item["actor"], *item["fields"]) for item in log} == {(f"user:{admin.id}", "preferences")}
    assert {item["purpose"] for item in log} == {"users.preferences", "users.change_preferences"}


async def test_the_contract_says_the_same_as_the_routes(orion: Orion) -> None:
    person = await somebody(orion)
    users = orion.service(Users)

    with orion.acting_as(person):
        [one] = await users.change_preferences(person.id, (PreferenceChange("a", Json.of(9007199254740993)),))
        with pytest.raises(PreconditionFailed):
            await users.change_preferences(person.id, (PreferenceChange("a", Json.of(1), expected_version=0),))
        with pytest.raises(Invalid) as twice:
            await users.change_preferences(person.id, (PreferenceChange("a"), PreferenceChange("a")))
        with pytest.raises(PreferencesTooLarge):
            await users.change_preferences(person.id, (PreferenceChange("a", Json.of("x" * 9000)),))
        found = await users.preferences(person.id, ("a",))

    assert found == (one,)
    assert (one.value.plain(), one.type) == (9007199254740993, "integer")
    assert [(error.field, error.code) for error in twice.value.errors] == [("a", "repeated")]
