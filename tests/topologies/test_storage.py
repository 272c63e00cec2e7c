"""Files, as every reach shows them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import secrets
from typing import Any
from uuid import uuid4

import httpx
import pytest

from orion_core.contracts.storage import (
    AccessDenied,
    Condition,
    ConditionFailed,
    NoSuchBucket,
    NoSuchObject,
    NotAPicture,
    ObjectCreated,
    ObjectDeleted,
    ObjectMoved,
    ObjectReplaced,
    Picture,
    PutObject,
    Storage,
    TypeMismatch,
)
from orion_core.testing import Orion, Person

pytestmark = pytest.mark.reaches("local", "wire", "processes")

STORAGE = "/api/v1/storage"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


def url(bucket: str, key: str = "") -> str:
    return f"{STORAGE}/buckets/{bucket}/objects" + (f"/{key}" if key else "")


async def a_bucket(orion: Orion, person: Person, **given: Any) -> str:
    name = f"b-{secrets.token_hex(8)}"
    answer = await orion.http.post(f"{STORAGE}/buckets", json={"name": name, **given}, headers=person.headers)
    assert answer.status_code == 201, answer.text
    return name


async def put(orion: Orion, person: Person, bucket: str, key: str, content: bytes, **headers: str) -> httpx.Response:
    return await orion.http.put(url(bucket, key), content=content, headers={**person.headers, **headers})


async def get(orion: Orion, person: Person, bucket: str, key: str, **headers: str) -> httpx.Response:
    return await orion.http.get(url(bucket, key), headers={**person.headers, **headers})


def told_of(events: list[Any], bucket: str) -> list[Any]:
    return [event for event in events if event.bucket == bucket]


async def test_what_was_uploaded_comes_back(orion: Orion) -> None:
    """T6, T11, T30, T33, T35, T38."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    content = secrets.token_bytes(700_000)

    made = await put(orion, person, bucket, "folder/some file+1.txt", content, **{"content-type": "text/plain"})
    assert made.status_code == 201
    digest = hashlib.sha256(content).hexdigest()
    info = made.json()
    assert (info["size"], info["sha256"], info["owner_id"]) == (700_000, digest, str(person.id))
    assert made.headers["location"] == url(bucket, "folder/some%20file%2B1.txt")

    read = await orion.http.get(made.headers["location"], headers=person.headers)
    assert read.status_code == 200
    assert read.content == content
    assert read.headers["etag"] == made.headers["etag"] == f'"{digest}"'
    assert read.headers["accept-ranges"] == "bytes"
    assert read.headers["content-type"] == "text/plain"
    assert read.headers["x-content-type-options"] == "nosniff"
    assert read.headers["cache-control"] == "private, max-age=0, must-revalidate"
    assert 'filename="some file+1.txt"' in read.headers["content-disposition"]

    head = await orion.http.head(url(bucket, "folder/some file+1.txt"), headers=person.headers)
    assert head.content == b""
    for name in ("etag", "content-length", "content-type", "content-disposition", "accept-ranges", "cache-control"):
        assert head.headers[name] == read.headers[name]

    await orion.settle()
    (event,) = told_of(await orion.told(ObjectCreated), bucket)
    assert (str(event.object_id), event.key, event.sha256) == (info["id"], "folder/some file+1.txt", digest)


async def test_ranges_and_conditions(orion: Orion) -> None:
    """T32, T34."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    made = await put(orion, person, bucket, "a", b"0123456789")
    tag = made.headers["etag"]

    part = await get(orion, person, bucket, "a", range="bytes=2-4")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    several = await get(orion, person, bucket, "a", range="bytes=0-1,8-9")
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert b"bytes 0-1/10\r\n\r\n01\r\n" in several.content
    assert int(several.headers["content-length"]) == len(several.content)
    beyond = await get(orion, person, bucket, "a", range="bytes=10-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */10")
    assert beyond.json()["code"] == "storage.range_not_satisfiable"
    same = await get(orion, person, bucket, "a", **{"if-none-match": tag, "range": "bytes=0-1"})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert {"cache-control", "vary"} <= set(same.headers)
    other = await get(orion, person, bucket, "a", **{"if-match": '"other"'})
    assert (other.status_code, other.json()["code"]) == (412, "storage.condition_failed")


async def test_creating_only_and_replacing_one_version(orion: Orion) -> None:
    """T4."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    first = await put(orion, person, bucket, "a", b"one", **{"if-none-match": "*"})
    again = await put(orion, person, bucket, "a", b"two", **{"if-none-match": "*"})
    stale = await put(orion, person, bucket, "a", b"two", **{"if-match": '"stale"'})
    replaced = await put(orion, person, bucket, "a", b"two", **{"if-match": first.headers["etag"]})
    anyway = await put(orion, person, bucket, "a", b"three")

    assert [answer.status_code for answer in (first, again, stale, replaced, anyway)] == [201, 412, 412, 200, 200]
    assert again.json()["code"] == "storage.condition_failed"
    assert (await get(orion, person, bucket, "a")).content == b"three"
    kept = await orion.http.delete(url(bucket, "a"), headers={**person.headers, "if-match": first.headers["etag"]})
    assert kept.status_code == 412
    await orion.settle()
    versions = [event.version for event in told_of(await orion.told(ObjectReplaced), bucket)]
    assert versions == [2, 3]


async def test_a_part_or_a_packed_object_is_not_taken_for_the_whole(orion: Orion) -> None:
    """T6: the object stays as it was."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    await put(orion, person, bucket, "a", b"0123456789")

    part = await put(orion, person, bucket, "a", b"xx", **{"content-range": "bytes 0-1/10"})
    packed = await put(orion, person, bucket, "a", b"xx", **{"content-encoding": "gzip"})
    plain = await put(orion, person, bucket, "b", b"xx", **{"content-encoding": "identity"})

    assert [answer.status_code for answer in (part, packed, plain)] == [400, 415, 201]
    assert (await get(orion, person, bucket, "a")).content == b"0123456789"


async def test_no_answer_is_sniffed(orion: Orion) -> None:
    """T30: also where no route of storage has been reached."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    for method, path, status in (
        ("POST", url(bucket, "a"), 405),
        ("GET", url(bucket, "a"), 404),
        ("GET", f"{STORAGE}/nothing", 404),
        ("GET", url(bucket, "a%2Fb"), 400),
        ("DELETE", url(bucket, "a"), 204),
        ("GET", url(bucket), 200),
    ):
        answer = await orion.http.request(method, path, headers=person.headers)
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (status, "nosniff")
    for signed_out in ("GET", "HEAD", "PUT", "DELETE"):
        answer = await orion.http.request(signed_out, url(bucket, "a"))
        assert (answer.status_code, answer.headers["x-content-type-options"]) == (401, "nosniff")


async def test_of_many_that_create_at_once_one_succeeds(orion: Orion) -> None:
    """T4: of 50 concurrent creates exactly one gets 201."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)

    async def create(number: int) -> int:
        return (await put(orion, person, bucket, "a", b"%d" % number, **{"if-none-match": "*"})).status_code

    answers = await asyncio.gather(*(create(number) for number in range(50)))

    assert sorted(answers) == [201] + [412] * 49


async def test_deleting_is_idempotent_and_told_once(orion: Orion) -> None:
    """T5, T11."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    await put(orion, person, bucket, "a", b"x")
    for _ in range(2):
        gone = await orion.http.delete(url(bucket, "a"), headers=person.headers)
        assert gone.status_code == 204
    missing = await get(orion, person, bucket, "a")
    assert (missing.status_code, missing.json()["code"]) == (404, "storage.no_such_object")
    assert missing.headers["cache-control"] == "no-store"
    assert missing.headers["x-content-type-options"] == "nosniff"
    await orion.settle()
    [gone] = told_of(await orion.told(ObjectDeleted), bucket)
    assert gone.owner_id == person.id


async def test_deleting_many_says_what_became_of_each(orion: Orion) -> None:
    """T5."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    await put(orion, person, bucket, "a", b"x")
    answer = await orion.http.post(
        f"{STORAGE}/buckets/{bucket}/deletions", json={"keys": ["a", "never", "../b"]}, headers=person.headers
    )
    assert answer.status_code == 200, answer.text
    assert [(item["key"], item["deleted"], item["code"]) for item in answer.json()["items"]] == [
        ("a", True, ""),
        ("never", True, ""),
        ("../b", False, "storage.invalid_key"),
    ]
    assert (await get(orion, person, bucket, "a")).status_code == 404


async def test_a_list_by_prefix_delimiter_and_cursor(orion: Orion) -> None:
    """T3: in byte order, `%` and `_` are literal."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    keys = ["Z", "a", "a%", "a_", "ab", "f/1", "f/2", "g/x/1", "g/y", "ä"]
    for key in reversed(keys):
        assert (await put(orion, person, bucket, key.replace("%", "%25"), b"x")).status_code == 201

    async def page(**query: Any) -> dict[str, Any]:
        answer = await orion.http.get(url(bucket), params=query, headers=person.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert [item["key"] for item in (await page())["items"]] == keys
    assert [item["key"] for item in (await page(prefix="a%"))["items"]] == ["a%"]
    assert [item["key"] for item in (await page(prefix="a_"))["items"]] == ["a_"]
    top = await page(delimiter="/")
    assert [item["key"] for item in top["items"]] == ["Z", "a", "a%", "a_", "ab", "ä"]
    assert top["prefixes"] == ["f/", "g/"]
    assert [item["key"] for item in (await page(prefix="f/", delimiter="/"))["items"]] == ["f/1", "f/2"]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        part = await page(delimiter="/", limit=2, cursor=cursor)
        assert len(part["items"]) + len(part["prefixes"]) <= 2
        found += [item["key"] for item in part["items"]] + part["prefixes"]
        cursor = part["next_cursor"]
    assert sorted(found) == sorted(["Z", "a", "a%", "a_", "ab", "ä", "f/", "g/"])
    bad = await orion.http.get(url(bucket), params={"cursor": "not one!"}, headers=person.headers)
    assert bad.status_code == 400


async def test_nobody_else_may_do_anything(orion: Orion) -> None:
    """T6, T9: hidden is 404."""
    person, other = await orion.sign_up(), await orion.sign_up()
    bucket = await a_bucket(orion, person)
    await put(orion, person, bucket, "a", b"secret")

    for method in ("GET", "HEAD", "PUT", "DELETE"):
        refused = await orion.http.request(method, url(bucket, "a"), headers=other.headers)
        absent = await orion.http.request(method, url(f"b-{uuid4().hex}", "a"), headers=other.headers)
        assert refused.status_code == absent.status_code == 404
        unknown = await orion.http.request(method, url(bucket, "a"))
        assert unknown.status_code == 401
    listed = await orion.http.get(url(bucket), headers=other.headers)
    assert (listed.status_code, listed.json()["code"]) == (404, "storage.no_such_bucket")
    for path in ("", "/grants"):
        hidden = await orion.http.get(f"{STORAGE}/buckets/{bucket}{path}", headers=other.headers)
        assert hidden.status_code == 404
    with orion.acting_as(other.id), pytest.raises(NoSuchBucket):
        await orion.service(Storage).open(bucket, "a")


async def test_a_grant_opens_a_part_of_a_bucket(orion: Orion) -> None:
    """T6, T9: visible but forbidden is 403."""
    person, other = await orion.sign_up(), await orion.sign_up()
    bucket = await a_bucket(orion, person)
    await put(orion, person, bucket, "open/a", b"x")
    await put(orion, person, bucket, "closed/a", b"x")
    grants = f"{STORAGE}/buckets/{bucket}/grants"
    body = {"subject": f"user:{other.id}", "right": "read", "prefix": "open/"}
    granted = await orion.http.post(grants, json=body, headers=person.headers)
    assert granted.status_code == 201, granted.text

    assert (await get(orion, other, bucket, "open/a")).status_code == 200
    closed = await get(orion, other, bucket, "closed/a")
    assert (closed.status_code, closed.json()["code"]) == (403, "storage.access_denied")
    assert (await put(orion, other, bucket, "open/b", b"x")).status_code == 403
    part = await orion.http.get(url(bucket), params={"prefix": "open/"}, headers=other.headers)
    assert [item["key"] for item in part.json()["items"]] == ["open/a"]
    assert (await orion.http.get(url(bucket), headers=other.headers)).status_code == 403

    await orion.http.post(
        grants, json={"subject": "everybody", "right": "write", "prefix": "open/"}, headers=person.headers
    )
    assert (await put(orion, other, bucket, "open/b", b"x")).status_code == 201
    revoked = await orion.http.delete(f"{grants}/{granted.json()['id']}", headers=person.headers)
    assert revoked.status_code == 204
    listed = await orion.http.get(grants, headers=person.headers)
    assert [item["subject"] for item in listed.json()["items"]] == ["everybody"]
    with orion.acting_as(other.id), pytest.raises(AccessDenied):
        await orion.service(Storage).delete(bucket, "closed/a")


async def test_a_public_object_is_for_everybody_to_read(orion: Orion) -> None:
    """T38."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person, visibility="public", cache_seconds=60)
    made = await put(orion, person, bucket, "a.html", b"<html><script>alert(1)</script>")

    read = await orion.http.get(url(bucket, "a.html"))
    assert read.status_code == 200
    assert read.headers["cache-control"] == "public, max-age=0, s-maxage=60, must-revalidate"
    assert read.headers["content-disposition"].startswith("attachment")
    assert read.headers["content-security-policy"] == "sandbox; default-src 'none'"
    hashed = await orion.http.get(url(bucket, "a.html"), params={"v": made.json()["sha256"]})
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    stale = await orion.http.get(url(bucket, "a.html"), params={"v": "0" * 64})
    assert (stale.status_code, stale.headers["cache-control"]) == (404, "no-store")
    assert (await orion.http.put(url(bucket, "a.html"), content=b"x")).status_code == 401
    assert (await orion.http.get(url(bucket, "b"))).status_code == 404


LIMITS = [
    (b"x" * 101, "text/plain", "a.txt", 413, "storage.too_large"),
    (b"x", "application/json", "a.json", 415, "storage.type_not_allowed"),
    (PNG[:64], "text/plain", "a.txt", 415, "storage.type_mismatch"),
    (b"x", "text/plain", "a.png", 415, "storage.type_mismatch"),
    (b"", "image/png", "a.png", 415, "storage.type_mismatch"),
    (b"<html>", "image/png", "a.png", 415, "storage.type_mismatch"),
    (b"x", "text", "a.txt", 415, "storage.type_not_allowed"),
]


@pytest.mark.parametrize(("content", "kind", "key", "status", "code"), LIMITS)
async def test_the_same_limits_on_every_way_to_upload(
    orion: Orion, content: bytes, kind: str, key: str, status: int, code: str
) -> None:
    """T1, T29: by PUT, by form, by signed URL and by call."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person, max_size=100, allowed_types=["text/plain", "image/*"])
    signed = await orion.http.post(
        f"{STORAGE}/signed-urls", json={"method": "PUT", "bucket": bucket, "key": key}, headers=person.headers
    )
    answers = [
        await put(orion, person, bucket, key, content, **{"content-type": kind}),
        await orion.http.post(url(bucket), files={"file": (key, content, kind)}, headers=person.headers),
        await orion.http.put(signed.json()["url"], content=content, headers={"content-type": kind}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(status, code)] * 3
    listed = await orion.http.get(url(bucket), headers=person.headers)
    assert listed.json()["items"] == []


async def test_a_call_is_limited_like_an_upload(orion: Orion) -> None:
    """T1."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person, allowed_types=["image/png"])
    with orion.acting_as(person.id):
        storage = orion.service(Storage)
        with pytest.raises(TypeMismatch):
            await storage.put_object(PutObject(bucket, "a.png", b"x", "image/png"))
        made = await storage.put_object(PutObject(bucket, "a.png", PNG, "image/png"))
        assert made.created
        with pytest.raises(ConditionFailed):
            await storage.put_object(PutObject(bucket, "a.png", PNG, "image/png", Condition(if_none_match=("*",))))
        assert (await storage.open(bucket, "a.png")).info == made.info


async def test_a_form_uploads_a_file(orion: Orion) -> None:
    """T1, T13."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    content = secrets.token_bytes(300_000)
    made = await orion.http.post(
        url(bucket),
        data={"key": "in/folder.bin"},
        files={"file": ("name.txt", io.BytesIO(content), "text/plain")},
        headers=person.headers,
    )
    assert made.status_code == 201, made.text
    assert (made.json()["key"], made.json()["content_type"]) == ("in/folder.bin", "text/plain")
    assert (await get(orion, person, bucket, "in/folder.bin")).content == content
    again = await orion.http.post(url(bucket), files={"file": ("grün.txt", b"x", "text/plain")}, headers=person.headers)
    assert again.json()["key"] == "grün.txt"
    none = await orion.http.post(url(bucket), data={"key": "a"}, files={}, headers=person.headers)
    assert none.status_code == 415
    broken = await orion.http.post(
        url(bucket),
        content=b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nhalf",
        headers={**person.headers, "content-type": "multipart/form-data; boundary=x"},
    )
    assert broken.status_code == 400
    assert (await get(orion, person, bucket, "a")).status_code == 404


async def test_signed_urls_speak_for_the_one_who_signed(orion: Orion) -> None:
    """T36."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)

    async def sign(method: str, key: str = "a b/ä", **more: Any) -> str:
        body = {"method": method, "bucket": bucket, "key": key, **more}
        answer = await orion.http.post(f"{STORAGE}/signed-urls", json=body, headers=person.headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"])

    upload = await sign("PUT", max_size=10, content_type="text/plain")
    download = await sign("GET")
    assert (await orion.http.get(download)).status_code == 404
    made = await orion.http.put(upload, content=b"signed", headers={"content-type": "text/plain"})
    assert (made.status_code, made.json()["owner_id"]) == (201, str(person.id))
    read = await orion.http.get(download, headers={"range": "bytes=0-2"})
    assert (read.status_code, read.content) == (206, b"sig")
    assert read.headers["cache-control"].startswith("private")
    assert (await orion.http.head(download)).status_code == 200

    for refused in (
        await orion.http.get(upload),
        await orion.http.put(download, content=b"x"),
        await orion.http.get(download.replace("objects/a", "objects/b")),
        await orion.http.get(download[:-1] + ("A" if download[-1] != "A" else "B")),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "storage.bad_signature")
    large = await orion.http.put(upload, content=b"x" * 11, headers={"content-type": "text/plain"})
    assert large.status_code == 413
    other = await orion.http.put(upload, content=b"x", headers={"content-type": "text/html"})
    assert other.status_code == 415
    long = {"method": "GET", "bucket": bucket, "key": "a", "expires_in": 8 * 24 * 3600}
    assert (await orion.http.post(f"{STORAGE}/signed-urls", json=long, headers=person.headers)).status_code == 422
    stranger = await orion.sign_up()
    short = {"method": "GET", "bucket": bucket, "key": "a"}
    assert (await orion.http.post(f"{STORAGE}/signed-urls", json=short, headers=stranger.headers)).status_code == 404


async def test_copies_and_moves_are_all_or_nothing(orion: Orion) -> None:
    """T5."""
    person = await orion.sign_up()
    one, two = await a_bucket(orion, person), await a_bucket(orion, person, max_size=3)
    await put(orion, person, one, "a", b"abc")
    await put(orion, person, one, "large", b"abcd")

    def way(key: str, bucket: str, target: str) -> dict[str, str]:
        return {"source_bucket": one, "source_key": key, "bucket": bucket, "key": target}

    copied = await orion.http.post(f"{STORAGE}/copies", json=way("a", two, "c"), headers=person.headers)
    assert copied.status_code == 201, copied.text
    assert (await get(orion, person, two, "c")).content == b"abc"
    assert (await get(orion, person, one, "a")).content == b"abc"
    moved = await orion.http.post(f"{STORAGE}/moves", json=way("a", two, "m"), headers=person.headers)
    assert moved.status_code == 201
    assert (await get(orion, person, one, "a")).status_code == 404
    over = await orion.http.post(f"{STORAGE}/moves", json=way("large", two, "c"), headers=person.headers)
    assert (over.status_code, over.json()["code"]) == (413, "storage.too_large")
    gone = await orion.http.post(f"{STORAGE}/copies", json=way("a", two, "x"), headers=person.headers)
    assert (gone.status_code, gone.json()["code"]) == (404, "storage.no_such_object")
    taken = {**way("large", one, "large2"), "condition": {"if_none_match": ["*"]}}
    assert (await orion.http.post(f"{STORAGE}/copies", json=taken, headers=person.headers)).status_code == 201
    again = await orion.http.post(f"{STORAGE}/copies", json=taken, headers=person.headers)
    assert again.status_code == 412
    await orion.http.delete(url(two, "c"), headers=person.headers)
    assert (await get(orion, person, two, "m")).content == b"abc"
    await orion.settle()
    assert [event.key for event in told_of(await orion.told(ObjectMoved), two)] == ["m"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("x" * 1024, 201),
        ("x" * 1025, 400),
        ("a%00", 400),
        ("a%0a", 400),
        ("a%5Cb", 400),
        ("%E2%80%AEa", 400),
        ("%252e%252e%252fa", 400),
        ("..%252fa", 400),
        ("%ff", 400),
        ("a//b", 400),
        ("a/", 400),
        ("a%2Fb", 400),
        ("a%252Fb", 201),
        ("a+b%20c", 201),
        ("%F0%9F%8E%89.txt", 201),
        ("%E6%97%A5%E6%9C%AC/%D0%B8", 201),
    ],
)
async def test_which_keys_there_can_be(orion: Orion, path: str, status: int) -> None:
    """T2: any language; nothing that could climb, hide or be read in two ways."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    made = await put(orion, person, bucket, path, b"x")
    assert made.status_code == status, made.text
    if status == 201:
        assert (await get(orion, person, bucket, path)).content == b"x"
        again = await orion.http.get(made.headers["location"], headers=person.headers)
        assert again.content == b"x"


async def test_buckets_are_made_changed_and_deleted(orion: Orion) -> None:
    """T1, T6."""
    person, other = await orion.sign_up(), await orion.sign_up()
    bucket = await a_bucket(orion, person, allowed_types=["image/*"], expire_days=30)
    at = f"{STORAGE}/buckets/{bucket}"
    taken = await orion.http.post(f"{STORAGE}/buckets", json={"name": bucket}, headers=other.headers)
    assert (taken.status_code, taken.json()["code"]) == (409, "storage.bucket_taken")
    for bad in ({"name": "Nö"}, {"name": "abc", "visibility": "hidden"}, {"name": "abc", "allowed_types": ["x"]}):
        answer = await orion.http.post(f"{STORAGE}/buckets", json=bad, headers=person.headers)
        assert answer.status_code == 422, answer.text
    changed = await orion.http.patch(at, json={"visibility": "public", "allowed_types": []}, headers=person.headers)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["visibility"], changed.json()["expire_days"]) == ("public", 30)
    unknown = await orion.http.patch(at, json={"owner_id": str(other.id)}, headers=person.headers)
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "owner_id")
    assert (await orion.http.patch(at, json={}, headers=other.headers)).status_code == 403
    mine = await orion.http.get(f"{STORAGE}/buckets", headers=person.headers)
    assert [item["name"] for item in mine.json()["items"]] == [bucket]
    await put(orion, person, bucket, "a", b"x")
    full = await orion.http.delete(at, headers=person.headers)
    assert (full.status_code, full.json()["code"]) == (409, "storage.bucket_not_empty")
    await orion.http.delete(url(bucket, "a"), headers=person.headers)
    assert (await orion.http.delete(at, headers=person.headers)).status_code == 204
    assert (await orion.http.get(at, headers=person.headers)).status_code == 404


async def test_a_person_owns_a_limited_number_of_buckets(orion: Orion) -> None:
    person = await orion.sign_up()
    for _ in range(10):
        await a_bucket(orion, person)
    one_more = await orion.http.post(f"{STORAGE}/buckets", json={"name": "one-more"}, headers=person.headers)
    assert (one_more.status_code, one_more.json()["code"]) == (409, "storage.too_many_buckets")


async def test_an_administrator_sees_everything_and_collects(orion: Orion) -> None:
    """T8."""
    person, admin = await orion.sign_up(), await orion.admin()
    bucket = await a_bucket(orion, person)
    await put(orion, person, bucket, "a", b"x")
    assert (await get(orion, admin, bucket, "a")).content == b"x"
    counted = await orion.http.post(f"{STORAGE}/admin/collect?dry_run=true", headers=admin.headers)
    assert counted.status_code == 200, counted.text
    assert set(counted.json()) == {"expired_uploads", "expired_pictures", "expired_objects", "orphans", "missing"}
    refused = await orion.http.post(f"{STORAGE}/admin/collect", headers=person.headers)
    assert refused.status_code == 403


async def test_a_picture_becomes_squares_that_everybody_sees(orion: Orion) -> None:
    """T28, T31, T38."""
    person = await orion.sign_up()
    with orion.acting_as(person.id):
        made = await orion.service(Storage).put_picture(Picture(person.id, a_picture(400, 300)))
        with pytest.raises(NotAPicture):
            await orion.service(Storage).put_picture(Picture(person.id, b"<html>"))
        with pytest.raises(AccessDenied):
            await orion.service(Storage).put_picture(Picture(uuid4(), a_picture(4, 3)))
    assert made.sizes == (64, 256, 512)
    for size, edge in ((64, 64), (256, 256), (512, 300)):
        answer = await orion.http.get(f"{STORAGE}/pictures/{made.id}/{size}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == "image/jpeg"
        assert size_of(answer.content) == (edge, edge)
        same = await orion.http.get(
            f"{STORAGE}/pictures/{made.id}/{size}", headers={"if-none-match": answer.headers["etag"]}
        )
        assert same.status_code == 304
    for missing in (f"{made.id}/100", f"{uuid4()}/64"):
        answer = await orion.http.get(f"{STORAGE}/pictures/{missing}")
        assert (answer.status_code, answer.json()["code"]) == (404, "storage.no_such_picture")


async def test_an_object_that_is_not_there_is_an_error_of_its_own(orion: Orion) -> None:
    """T6."""
    person = await orion.sign_up()
    bucket = await a_bucket(orion, person)
    with orion.acting_as(person.id), pytest.raises(NoSuchObject):
        await orion.service(Storage).open(bucket, "a")


def a_picture(width: int, height: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return picture.size
