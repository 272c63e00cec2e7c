"""Answers that the gateway keeps, as every reach shows them."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import pytest

from orion_core.context import SYSTEM
from orion_core.contracts.storage import PutObject, Storage
from orion_core.testing import Orion, Person
from orion_core.testing.engines import until

pytestmark = pytest.mark.reaches("local", "wire", "processes")

STORAGE = "/api/v1/storage"
PURGE = "/api/v1/gateway/admin/cache/purge"


async def an_object(orion: Orion, person: Person, content: bytes = b"one") -> str:
    """The path of an object that everybody may read and caches may keep for a minute."""
    bucket = f"b-{secrets.token_hex(8)}"
    body = {"name": bucket, "visibility": "public", "cache_seconds": 60}
    made = await orion.http.post(f"{STORAGE}/buckets", json=body, headers=person.headers)
    assert made.status_code == 201, made.text
    path = f"{STORAGE}/buckets/{bucket}/objects/a.txt"
    put = await orion.http.put(path, content=content, headers=person.headers)
    assert put.status_code == 201, put.text
    # What was going to be purged has been, so that the next answer is kept.
    await orion.settle()
    return path


async def kept(orion: Orion, path: str, **headers: str) -> Any:
    """The answer at `path` once it comes out of the cache."""
    answers = []

    async def aged() -> bool:
        answers.append(await orion.http.get(path, headers=headers))
        assert answers[-1].status_code == 200
        return "age" in answers[-1].headers

    # For a moment after a change nothing of it is kept: hosts' clocks differ.
    if orion.reach != "processes":
        await orion.advance(timedelta(seconds=3))
    await until(aged, "the answer is kept")
    return answers[-1]


async def test_a_public_object_is_kept_and_validated_by_its_tag(orion: Orion) -> None:
    """G70: freshness, Age and 304, also for somebody with a token (RFC 9111, section 3.5)."""
    person = await orion.sign_up()
    path = await an_object(orion, person)
    first = await orion.http.get(path)
    again = await kept(orion, path)

    assert (again.content, again.headers["etag"]) == (b"one", first.headers["etag"])
    assert again.headers["cache-control"] == first.headers["cache-control"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    same = await orion.http.get(path, headers={"if-none-match": again.headers["etag"], **person.headers})
    assert (same.status_code, same.content, "age" in same.headers) == (304, b"", True)
    part = await orion.http.get(path, headers={"range": "bytes=0-0"})
    assert (part.status_code, part.content, "age" in part.headers) == (206, b"o", False)


async def test_a_change_through_the_gateway_is_seen_at_once(orion: Orion) -> None:
    """G70: invalidation by unsafe methods."""
    person = await orion.sign_up()
    path = await an_object(orion, person)
    await kept(orion, path)
    assert (await orion.http.put(path, content=b"two", headers=person.headers)).status_code == 200
    assert (await orion.http.get(path)).content == b"two"
    await orion.settle()
    await kept(orion, path)

    assert (await orion.http.delete(path, headers=person.headers)).status_code == 204
    assert (await orion.http.get(path)).status_code == 404


async def test_a_change_behind_the_gateway_is_told_to_it(orion: Orion) -> None:
    """G70, T38: storage purges the gateway's cache, wherever either of them runs."""
    person = await orion.sign_up()
    path = await an_object(orion, person)
    await kept(orion, path)
    bucket = path.split("/")[5]
    with orion.acting_as(SYSTEM):
        await orion.service(Storage).put_object(PutObject(bucket, "a.txt", b"two"))
    await orion.settle()
    assert (await orion.http.get(path)).content == b"two"
    await kept(orion, path)

    closed = await orion.http.patch(
        f"{STORAGE}/buckets/{bucket}", json={"visibility": "private"}, headers=person.headers
    )
    assert closed.status_code == 200, closed.text
    await orion.settle()
    assert (await orion.http.get(path)).status_code in (401, 403, 404)


@pytest.mark.parametrize("by", ["url", "path", "tag"])
async def test_administrators_purge_by_address_and_by_tag(orion: Orion, by: str) -> None:
    """G70: the purge API."""
    person, admin = await orion.sign_up(), await orion.admin()
    path = await an_object(orion, person)
    await kept(orion, path)
    bucket = path.split("/")[5]
    order = {
        "url": {"urls": [f"https://shop.example{path}?x=1"]},
        "path": {"urls": [path]},
        "tag": {"tags": [f"orion-bucket-{bucket}"]},
    }[by]
    answer = await orion.http.post(PURGE, json=order, headers=admin.headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "age" not in (await orion.http.get(path)).headers


async def test_nobody_else_purges(orion: Orion) -> None:
    """G70."""
    person = await orion.sign_up()

    assert (await orion.http.post(PURGE, json={"tags": ["a"]})).status_code == 401
    assert (await orion.http.post(PURGE, json={"tags": ["a"]}, headers=person.headers)).status_code == 403


@pytest.mark.parametrize(
    ("order", "field"),
    [({}, "urls"), ({"urls": ["a b"]}, "urls.0"), ({"tags": ["a", " "]}, "tags.1"), ({"urls": ["/a"] * 1001}, "urls")],
)
async def test_an_order_that_means_nothing_is_refused_naming_the_field(orion: Orion, order: Any, field: str) -> None:
    """G70."""
    admin = await orion.admin()
    answer = await orion.http.post(PURGE, json=order, headers=admin.headers)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_what_belongs_to_a_person_is_neither_kept_nor_found_under_the_name_of_a_file(orion: Orion) -> None:
    """G71: web cache deception."""
    person = await orion.sign_up()
    await orion.settle()
    for path in ("/api/v1/users/me", f"{STORAGE}/buckets"):
        for suffix in ("/x.css", "/.css", ".css"):
            for _ in range(2):
                answer = await orion.http.get(path + suffix, headers=person.headers)
                assert (answer.status_code, "age" in answer.headers) == (404, False)
    for _ in range(2):
        mine = await orion.http.get(f"{STORAGE}/buckets", headers=person.headers)
        assert (mine.status_code, "age" in mine.headers) == (200, False)
    assert (await orion.http.get(f"{STORAGE}/buckets")).status_code == 401
