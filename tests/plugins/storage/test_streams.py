"""Bytes on their way: bounded memory, clients that leave or lie, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from litestar.exceptions import LitestarException

from orion_core.ports.blobs import BlobsUnavailable
from orion_core.testing import InProcess, Person

pytestmark = pytest.mark.orion(services=["auth", "storage"])
MIB = 1024 * 1024
SIZE = 64 * MIB
PIECE = b"0123456789abcdef" * 4096
OBJECT = "/api/v1/storage/buckets/bucket/objects/a.bin"
FORM = "/api/v1/storage/buckets/bucket/objects"


@attrs.define
class Answer:
    """What the application sent, its body only counted and hashed."""

    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    size: int = 0
    digest: Any = attrs.field(factory=hashlib.sha256)
    last: bytes = b""


async def ask(
    orion: InProcess,
    person: Person,
    method: str,
    path: str,
    pieces: AsyncIterator[bytes] | None = None,
    on_piece: Callable[[Answer], Awaitable[None]] | None = None,
    **headers: str,
) -> Answer:
    """One request by bare ASGI. When `pieces` raise `Left`, the client has gone."""
    sent = Answer()
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if pieces is None:
            if not begun:
                begun.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            if not begun:
                begun.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}
        except Left:
            return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent.status = message["status"]
            sent.headers = {name.decode().lower(): text.decode("latin-1") for name, text in message["headers"]}
        else:
            body = message.get("body", b"")
            sent.size += len(body)
            sent.digest.update(body)
            sent.last = body or sent.last
            if on_piece is not None:
                await on_piece(sent)
                if sent.status == -1:
                    left.set()
                    await asyncio.sleep(0)

    begun: list[bool] = []
    raw = [(name.lower().encode(), text.encode()) for name, text in {**person.headers, **headers}.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"orion.test"), *((n.replace(b"_", b"-"), t) for n, t in raw)],
        "server": ("orion.test", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    await orion.platform.asgi()(scope, receive, send)
    return sent


class Left(Exception):
    """The client has gone."""


async def repeated(count: int, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE
    if then is not None:
        raise then


async def a_form(count: int) -> AsyncIterator[bytes]:
    yield b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    for _ in range(count):
        yield PIECE
    yield b"\r\n--xyz--\r\n"


async def prepared(orion: InProcess, **bucket: Any) -> Person:
    person = await orion.sign_up()
    answer = await orion.http.post("/api/v1/storage/buckets", json={"name": "bucket", **bucket}, headers=person.headers)
    assert answer.status_code == 201
    return person


def files(orion: InProcess) -> list[Path]:
    folder = orion.folder / "blobs"
    return [path for path in folder.rglob("*") if path.is_file()]


async def nothing_left(orion: InProcess, person: Person) -> None:
    await orion.settle()
    assert files(orion) == []
    assert (await orion.http.get(OBJECT, headers=person.headers)).status_code == 404
    db = orion.platform.databases["storage"]
    assert await db.fetch("SELECT id FROM storage_uploads") == []


async def grown(work: Awaitable[Any]) -> tuple[Any, int]:
    """The result of `work`, and how many bytes of memory it had in use at once, beyond what was before."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        result = await work
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


async def test_memory_does_not_grow_with_the_object(orion: InProcess) -> None:
    """T13, T43: by PUT and by form, up and down."""
    person = await prepared(orion)
    count = SIZE // len(PIECE)
    wanted = hashlib.sha256(PIECE * count).digest()

    made, up = await grown(ask(orion, person, "PUT", OBJECT, repeated(count)))
    assert made.status == 201
    kind = {"content-type": "multipart/form-data; boundary=xyz"}
    again, by_form = await grown(ask(orion, person, "POST", FORM, a_form(count), **kind))
    assert again.status == 200
    read, down = await grown(ask(orion, person, "GET", OBJECT))
    assert (read.status, read.size, read.digest.digest()) == (200, SIZE, wanted)
    assert max(up, by_form, down) < 8 * MIB, (up, by_form, down)


@pytest.mark.parametrize(
    "key",
    [
        *(
            "..",
            ".",
            "../x",
            "./x",
            "a/../x",
            "a/.",
            "%2e%2e/x",
            "%2E",
            ".%2e/x",
            "%2e./x",
            "a/%2e%2e",
            "..%2fx",
            "..%5cx",
        ),
        *("a%2Fb", "a%5cb", "a\\b", "/a", "a//b", "a/", "%00", "a%00b", "a%0d%0ab", "%7f", "%C2%85", "%252e%252e/x"),
        *(
            "..%252fx",
            "..%25252fx",
            "%c0%ae",
            "%c0%ae%c0%ae/x",
            "%ed%a0%80",
            "%e4",
            "%E2%80%AEx",
            "x" * 1025,
            "%C3%A4" * 513,
        ),
    ],
)
async def test_no_spelling_of_a_bad_key_gets_in(orion: InProcess, key: str) -> None:
    """T2: as they come from the wire, without a client that would tidy them up."""
    person = await prepared(orion)
    answer = await ask(orion, person, "PUT", f"{FORM}/{key}", repeated(1))
    assert answer.status == 400
    await nothing_left(orion, person)


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("%zz", "%zz"),
        ("100%25", "100%"),
        ("a+b%20c%2B", "a+b c+"),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
        ("%3F%23;a=b", "?#;a=b"),
        ("%F0%9F%8E%89/%E6%97%A5", "🎉/日"),
        ("u%CC%88", "ü"),
        ("a%252Fb", "a%2Fb"),
        ("x" * 1024, "x" * 1024),
    ],
)
async def test_every_spelling_of_a_good_key_is_read_once(orion: InProcess, key: str, stored: str) -> None:
    """T2: decoded once, and found again under the same spelling."""
    person = await prepared(orion)
    assert (await ask(orion, person, "PUT", f"{FORM}/{key}", repeated(1))).status == 201
    listed = await orion.http.get(FORM, headers=person.headers)
    assert [item["key"] for item in listed.json()["items"]] == [stored]
    assert (await ask(orion, person, "GET", f"{FORM}/{key}")).size == len(PIECE)


@pytest.mark.parametrize("length", [None, "10", str(SIZE)])
async def test_the_first_byte_beyond_the_limit_ends_an_upload(orion: InProcess, length: str | None) -> None:
    """T13: also with chunked encoding and with a false Content-Length."""
    person = await prepared(orion, max_size=MIB)
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += len(PIECE)
            yield PIECE

    answer = await ask(orion, person, "PUT", OBJECT, counted(), **({"content-length": length} if length else {}))
    assert answer.status == 413
    assert taken <= MIB + 4 * len(PIECE)
    await nothing_left(orion, person)


@pytest.mark.parametrize("count", [0, 1, 40])
async def test_a_client_that_leaves_leaves_nothing(orion: InProcess, count: int) -> None:
    """T14."""
    person = await prepared(orion)
    await ask(orion, person, "PUT", OBJECT, repeated(count, Left()))
    await nothing_left(orion, person)

    async def half_a_form() -> AsyncIterator[bytes]:
        async for piece in a_form(count):
            if piece.startswith(b"\r\n--xyz"):
                raise Left
            yield piece

    await ask(orion, person, "POST", FORM, half_a_form(), **{"content-type": "multipart/form-data; boundary=xyz"})
    await nothing_left(orion, person)


@pytest.mark.parametrize("turns", [1, 10, 30, 60, 100])
async def test_a_cancelled_request_leaves_nothing_or_all(orion: InProcess, turns: int) -> None:
    """T7, T14."""
    person = await prepared(orion)
    task = asyncio.ensure_future(ask(orion, person, "PUT", OBJECT, repeated(20)))
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await orion.settle()
    read = await orion.http.get(OBJECT, headers=person.headers)
    if read.status_code == 404:
        await nothing_left(orion, person)
    else:
        assert read.content == PIECE * 20


async def test_fewer_bytes_than_announced_are_no_object(orion: InProcess) -> None:
    """T13: a false Content-Length."""
    person = await prepared(orion)
    answer = await ask(orion, person, "PUT", OBJECT, repeated(2), **{"content-length": str(3 * len(PIECE))})
    assert answer.status == 400
    await nothing_left(orion, person)


async def test_a_reader_that_leaves_is_read_for_no_longer(orion: InProcess) -> None:
    """T14: the rest of a large object is not read for nobody."""
    person = await prepared(orion)
    await ask(orion, person, "PUT", OBJECT, repeated(256))

    async def leave(sent: Answer) -> None:
        if sent.size:
            sent.status = -1

    sent = await ask(orion, person, "GET", OBJECT, on_piece=leave)
    assert sent.size < 2 * MIB


async def test_an_object_replaced_while_it_is_read_is_not_mixed(orion: InProcess) -> None:
    """T35."""
    person = await prepared(orion)
    await ask(orion, person, "PUT", OBJECT, repeated(64))
    replaced = False

    async def replace(sent: Answer) -> None:
        nonlocal replaced
        if sent.size and not replaced:
            replaced = True
            answer = await orion.http.put(OBJECT, content=b"new", headers=person.headers)
            assert answer.status_code == 200

    sent = await ask(orion, person, "GET", OBJECT, on_piece=replace)
    assert sent.digest.digest() == hashlib.sha256(PIECE * 64).digest()
    assert (await orion.http.get(OBJECT, headers=person.headers)).content == b"new"


async def test_bytes_that_are_gone_are_an_error_and_no_empty_object(orion: InProcess) -> None:
    """T8."""
    person = await prepared(orion)
    await orion.http.put(OBJECT, content=b"x", headers=person.headers)
    for path in files(orion):
        path.unlink()
    assert (await orion.http.get(OBJECT, headers=person.headers)).status_code == 500


async def test_a_file_cut_short_cuts_the_answer(orion: InProcess) -> None:
    """T8, T35: what came is never taken for whole."""
    person = await prepared(orion)
    await ask(orion, person, "PUT", OBJECT, repeated(32))
    (path,) = files(orion)
    with path.open("r+b") as file:
        file.truncate(len(PIECE))
    with pytest.raises(LitestarException, match="after response started"):
        await ask(orion, person, "GET", OBJECT)


STEPS = ("begin_upload", "put", "finish_upload", "abandon_upload")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
async def test_a_failure_at_any_step_leaves_no_half_object(
    orion: InProcess, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    """T7: before and after each step; where the commit happened and its answer was lost, the object is whole."""
    person = await prepared(orion)
    service = orion.platform.services["storage"]
    blobs = orion.platform._blobs
    target = type(blobs) if step == "put" else type(service)
    real = getattr(target, step)

    async def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        if after:
            await real(self, *args, **kwargs)
        raise BlobsUnavailable("injected")

    monkeypatch.setattr(target, step, failing)
    if step == "abandon_upload":
        answer = await ask(orion, person, "PUT", OBJECT, repeated(3, Left()))
    else:
        answer = await ask(orion, person, "PUT", OBJECT, repeated(3))
        assert answer.status == 503
    monkeypatch.undo()
    await orion.settle()
    read = await orion.http.get(OBJECT, headers=person.headers)
    if step == "finish_upload" and after:
        assert read.content == PIECE * 3
        return
    assert read.status_code == 404
    again = await orion.http.put(OBJECT, content=b"again", headers=person.headers)
    assert again.status_code == 201
    from datetime import timedelta

    await orion.advance(timedelta(days=1, minutes=10))
    person = await orion.sign_in(person.email)
    await orion.settle()
    with orion.acting_as(person.id, "storage:manage"):
        from orion_core.contracts.storage import Storage

        await orion.service(Storage).collect(False)
    await orion.advance(timedelta(minutes=10))
    await orion.settle()
    assert len(files(orion)) == 1
