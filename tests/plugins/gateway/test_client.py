"""The gateway's client against an upstream that breaks HTTP/1.1 wherever it can."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import httpx
import pytest
import uvloop
from upstream import Upstream, Wire, held, ok, once, serve_well, until

from orion_plugins.gateway.client import (
    BodyMismatch,
    ClientGone,
    ClientSlow,
    Response,
    Unsendable,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from orion_plugins.gateway.connection import HIGH_WATER, PROGRESS
from orion_plugins.gateway.pool import Pool


@contextlib.asynccontextmanager
async def pooled(upstream: Upstream, **options: object) -> AsyncIterator[Pool]:
    pool = Pool(upstream.url, **options)  # type: ignore[arg-type] # options of several types
    try:
        yield pool
    finally:
        await pool.aclose()
        assert (pool.taken, pool.idle) == (0, 0)
        assert not pool._tasks


async def whole(response: Response) -> bytes:
    parts = []
    while not response.ended:
        parts.append(await response.read())
    return b"".join(parts)


async def get(pool: Pool, method: str = "GET", **options: object) -> tuple[int, bytes]:
    response = await pool.send(method, b"/", [], **options)  # type: ignore[arg-type] # options of several types
    return response.status, await whole(response)


class Parts:
    """A streamed body that says how far it was read, and stalls at its end if asked to."""

    def __init__(self, parts: Iterable[bytes], *, stall: bool = False) -> None:
        self._parts = iter(parts)
        self._stall = stall
        self.given = 0

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> bytes:
        for part in self._parts:
            self.given += 1
            await asyncio.sleep(0)
            return part
        if not self._stall:
            raise StopAsyncIteration
        await asyncio.Event().wait()
        raise AssertionError


# -- connections


async def test_connections_are_kept_and_used_again() -> None:
    async with Upstream(serve_well) as upstream, pooled(upstream) as pool:
        for _ in range(5):
            assert await get(pool) == (200, b"ok")
        assert len(upstream.wires) == 1
        assert (pool.taken, pool.idle) == (1, 1)


async def test_requests_are_never_pipelined() -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            assert wire.waiting == b""
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
            await asyncio.sleep(0)
            assert wire.waiting == b""
            await wire.send(b"k")

    async with Upstream(script) as upstream, pooled(upstream, limit=2) as pool:
        answers = await asyncio.gather(*[get(pool) for _ in range(20)])
        assert answers == [(200, b"ok")] * 20
        assert len(upstream.wires) == 2


async def test_a_request_waits_for_a_free_connection_in_turn() -> None:
    order: list[int] = []

    async def numbered(pool: Pool, number: int) -> None:
        assert await get(pool) == (200, b"ok")
        order.append(number)

    async with Upstream(serve_well) as upstream, pooled(upstream, limit=1) as pool:
        await asyncio.gather(*[numbered(pool, number) for number in range(10)])
        assert order == list(range(10))
        assert len(upstream.wires) == 1


async def test_a_full_pool_is_unreachable_after_the_wait_and_serves_again_later() -> None:
    async with (
        Upstream(held(b"HTTP/1.1 200 OK\r\n\r\n")) as upstream,
        pooled(upstream, limit=1, connect_timeout=0.05) as pool,
    ):
        first = await pool.send("GET", b"/", [])
        with pytest.raises(UpstreamUnreachable, match="all 1 connections") as caught:
            await get(pool)
        assert not caught.value.sent
        first.abort()
        second = await pool.send("GET", b"/", [])
        second.abort()


async def test_a_cancelled_wait_gives_its_place_to_the_next() -> None:
    async with Upstream(serve_well) as upstream, pooled(upstream, limit=1) as pool:
        started = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            started.set()
            await asyncio.sleep(0.01)
            yield b"x"

        first = asyncio.create_task(get(pool, "POST", body=slow()))
        await started.wait()
        waiting = [asyncio.create_task(get(pool)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert await first == (200, b"ok")
        waiting[1].cancel()
        assert await waiting[2] == (200, b"ok")
        await asyncio.gather(*waiting, return_exceptions=True)
        assert pool.taken == 1


async def test_a_cancelled_request_closes_its_connection() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.gone()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        task = asyncio.create_task(get(pool))
        await until(lambda: upstream.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.taken == 0
        await until(lambda: upstream.wires[0].left)


async def test_unused_connections_are_closed_after_a_while() -> None:
    async with Upstream(serve_well) as upstream, pooled(upstream, keep_alive=0.02) as pool:
        await get(pool)
        await until(lambda: pool.taken == 0)
        await until(lambda: upstream.wires[0].left)
        assert await get(pool) == (200, b"ok")


async def test_a_connection_that_the_upstream_closed_while_idle_is_not_used_again() -> None:
    async with Upstream(once(ok())) as upstream, pooled(upstream) as pool:
        for count in range(1, 4):
            assert await get(pool, "POST") == (200, b"ok")
            await until(lambda: pool.taken == 0)
            assert len(upstream.wires) == count


async def test_a_connection_that_is_closing_is_not_used_again() -> None:
    async with Upstream(serve_well) as upstream, pooled(upstream) as pool:
        await get(pool)
        pool._idle[0]._transport.close()  # as asyncio does on the upstream's FIN, a moment before it says so
        assert await get(pool, "POST") == (200, b"ok")
        assert len(upstream.wires) == 2


@pytest.mark.parametrize("handed", ["connection", "place"])
async def test_what_is_handed_to_a_wait_that_is_just_cancelled_is_not_lost(handed: str) -> None:
    async with Upstream(serve_well) as upstream, pooled(upstream, limit=1) as pool:
        connection = await pool._obtain(False, None)
        waiting = asyncio.create_task(get(pool))
        await until(lambda: pool._waiters)
        if handed == "connection":
            pool.freed(connection)
        else:
            connection.close()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (pool.taken, pool.idle) == ((1, 1) if handed == "connection" else (0, 0))
        assert await get(pool) == (200, b"ok")


async def test_a_fresh_connection_takes_the_place_of_an_idle_one_in_a_full_pool() -> None:
    async with Upstream(serve_well) as upstream, pooled(upstream, limit=1, keep_alive=60) as pool:
        await get(pool)
        pool.freed(await pool._obtain(True, None))
        assert (pool.taken, pool.idle) == (1, 1)
        await get(pool)
        await until(lambda: upstream.wires[0].left)


async def test_closing_fails_what_is_in_flight_and_leaves_nothing_open() -> None:
    async with Upstream(held(b"")) as upstream, pooled(upstream, limit=2) as pool:
        calls = [asyncio.create_task(get(pool)) for _ in range(4)]
        await until(lambda: len(upstream.requests) == 2)
        await pool.aclose()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [UpstreamBroken] * 2 + [UpstreamUnreachable] * 2
        with pytest.raises(UpstreamUnreachable, match="stopping"):
            await get(pool)
        await until(lambda: all(wire.left for wire in upstream.wires))


# -- stale connections (G51)


def dies_on_second(cut: str) -> object:
    """Answers one request on its first connection and dies on the next; later connections are well."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        if wire.number == 0:
            await wire.head()
            if cut == "reset":
                wire.reset()
            return
        await serve_well(wire)

    return script


@pytest.mark.parametrize("cut", ["close", "reset"])
@pytest.mark.parametrize(
    ("method", "body"), [("GET", b""), ("HEAD", b""), ("OPTIONS", b""), ("PUT", b"same bytes"), ("DELETE", b"")]
)
async def test_g51_a_repeatable_request_on_a_stale_connection_is_sent_once_more(
    method: str, body: bytes, cut: str
) -> None:
    async with Upstream(dies_on_second(cut)) as upstream, pooled(upstream) as pool:  # type: ignore[arg-type] # a script
        await get(pool)
        status, _ = await get(pool, method, body=body)
        assert status == 200
        assert [request.method for request in upstream.requests] == ["GET", method, method]
        assert upstream.requests[1].raw == upstream.requests[2].raw


@pytest.mark.parametrize("cut", ["close", "reset"])
@pytest.mark.parametrize("body", [b"", b"bytes"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_g51_a_request_that_may_not_be_repeated_is_seen_once(method: str, body: bytes, cut: str) -> None:
    async with Upstream(dies_on_second(cut)) as upstream, pooled(upstream) as pool:  # type: ignore[arg-type] # a script
        await get(pool)
        with pytest.raises(UpstreamBroken, match="kept connection"):
            await get(pool, method, body=body)
        assert [request.method for request in upstream.requests] == ["GET", method]


async def test_g51_a_streamed_body_is_never_sent_twice() -> None:
    async with Upstream(dies_on_second("close")) as upstream, pooled(upstream) as pool:  # type: ignore[arg-type] # a script
        await get(pool)
        with pytest.raises(UpstreamBroken):
            await get(pool, "PUT", body=Parts([b"a"], stall=True))
        assert len(upstream.requests) == 2


async def test_a_fresh_connection_that_dies_is_not_tried_again() -> None:
    async def script(wire: Wire) -> None:
        if wire.number == 0:
            await wire.answer()
        await wire.head()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        await get(pool)
        with pytest.raises(UpstreamBroken, match="without an answer"):
            await get(pool)
        assert len(upstream.requests) == 3


async def test_the_second_try_goes_over_a_fresh_connection_even_when_the_pool_is_full_of_idle_ones() -> None:
    async def script(wire: Wire) -> None:
        await wire.answer()
        if wire.number < 3:
            await wire.head()
            return
        await serve_well(wire)

    async with Upstream(script) as upstream, pooled(upstream, limit=3) as pool:
        await asyncio.gather(*[get(pool) for _ in range(3)])
        assert pool.idle == 3
        assert await get(pool) == (200, b"ok")
        assert len(upstream.wires) == 4


# -- what an answer looks like


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Odd"])
async def test_interim_answers_are_skipped(interim: bytes) -> None:
    hints = b"HTTP/1.1 %b\r\nlink: </x>\r\n\r\n" % interim

    async def script(wire: Wire) -> None:
        for _ in range(2):
            await wire.head()
            await wire.send(hints)
            await wire.send(hints + ok(b"final"))

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            response = await pool.send("GET", b"/", [])
            assert (response.status, response.headers) == (200, [(b"content-length", b"5")])
            assert await whole(response) == b"final"
        assert len(upstream.wires) == 1


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n"),
    ],
)
async def test_answers_without_a_body_end_with_their_head(method: str, answer: bytes) -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(answer)

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        for _ in range(3):
            response = await pool.send(method, b"/", [])
            assert response.ended
            assert await response.read() == b""
        assert len(upstream.wires) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3;ext=1\r\ntwo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n6\r\nonetwo\r\n0\r\nx-sum: 1\r\nserver: t\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked \r\n\r\n6\r\nonetwo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nonetwo",
        b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 6 \t\r\n\r\nonetwo",
    ],
)
async def test_a_body_arrives_whole_however_its_bytes_are_cut(answer: bytes) -> None:
    """Trailers are left out, and the connection is good for the next request."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            for place in range(len(answer)):
                await wire.send(answer[place : place + 1])
                await asyncio.sleep(0)
            await wire.head()
            await wire.send(answer)

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        for _ in range(4):
            response = await pool.send("GET", b"/", [])
            assert len(response.headers) == 1
            assert await whole(response) == b"onetwo"
        assert len(upstream.wires) == 1


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_body_without_framing_ends_when_the_upstream_closes(version: bytes) -> None:
    async with Upstream(once(b"HTTP/%b 200 OK\r\n\r\nall of it" % version)) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            assert await get(pool) == (200, b"all of it")
        assert len(upstream.wires) == 2


async def test_a_body_without_framing_that_ends_in_a_reset_is_broken() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await until(lambda: arrived)
        wire.reset()

    arrived: list[bytes] = []
    async with Upstream(script) as upstream, pooled(upstream) as pool:
        response = await pool.send("GET", b"/", [])
        arrived.append(await response.read())
        with pytest.raises(UpstreamBroken, match="reset"):
            await response.read()


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
async def test_a_connection_that_will_not_persist_is_not_used_again(said: bytes) -> None:
    async with Upstream(held(said + b"content-length: 2\r\n\r\nok")) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            assert await get(pool, "POST") == (200, b"ok")
        assert len(upstream.wires) == 2


@pytest.mark.parametrize(
    "answer",
    [
        ok() + b"surplus",
        ok() + ok(b"stolen"),
        b"HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nstolen",
    ],
)
async def test_bytes_after_an_answer_never_become_the_next_one(answer: bytes) -> None:
    async with Upstream(held(answer)) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            status, body = await get(pool, "POST")
            assert body == (b"ok" if status == 200 else b"")
        assert len(upstream.wires) == 2


async def test_a_body_in_answer_to_head_never_becomes_the_next_answer() -> None:
    async with Upstream(held(ok(b"HTTP/1.1 200 stolen\r\n\r\n"))) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            assert await get(pool, "HEAD") == (200, b"")
        assert len(upstream.wires) == 2


async def test_bytes_that_come_unasked_close_an_idle_connection() -> None:
    async def script(wire: Wire) -> None:
        await wire.answer()
        await until(lambda: asked)
        await wire.send(ok(b"stolen"))
        await wire.gone()

    asked: list[int] = []
    async with Upstream(script) as upstream, pooled(upstream, keep_alive=60) as pool:
        assert await get(pool) == (200, b"ok")
        assert pool.idle == 1
        asked.append(1)
        await until(lambda: pool.taken == 0)
        assert await get(pool, "POST") == (200, b"ok")


# -- broken answers

FAULTS = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "only an interim answer": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "an upgrade nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nx",
    "a status that does not exist": b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",
    "a version that does not exist": b"HTTP/1.32 200 OK\r\ncontent-length: 0\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "a list of lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
    "a signed length": b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    "a hexadecimal length": b"HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok",
    "a length past all bounds": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nok",
    "another coding before chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another coding alone": b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nok",
    "chunked with a tab": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\t\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded field": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a bare line feed": b"HTTP/1.1 200 OK\r\nx: a\ncontent-length: 0\r\n\r\n",
    "a bare carriage return": b"HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 0\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 201 + b"content-length: 0\r\n\r\n",
    "too long a field": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 65536 + b"\r\ncontent-length: 0\r\n\r\n",
    "too many bytes of fields": b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"a" * 999) * 66 + b"\r\n",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_g51_under_every_fault_a_post_is_seen_once_and_fails(fault: str) -> None:
    async with Upstream(once(FAULTS[fault])) as upstream, pooled(upstream) as pool:
        with pytest.raises(UpstreamBroken):
            await get(pool, "POST", body=b"bytes")
        assert len(upstream.requests) == 1
        assert pool.taken == 0


CUTS = {
    "a length not reached": b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
    "no last chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nshort",
    "half the last chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
    "half a trailer": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\nx-sum",
    "a bad chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n\r\n",
    "a space after a chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n5 \r\n\r\n",
}


@pytest.mark.parametrize("cut", CUTS)
async def test_g2_a_body_that_is_cut_short_never_looks_whole(cut: str) -> None:
    async with Upstream(once(CUTS[cut])) as upstream, pooled(upstream) as pool:
        got = b""
        with pytest.raises(UpstreamBroken):  # noqa: PT012 - the parts before the break are looked at as well
            response = await pool.send("GET", b"/", [])
            while True:
                assert not response.ended
                got += await response.read()
        assert got in (b"short", b"")
        assert pool.taken == 0


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", b"a" * 4096),
        (b"HTTP/1.1 ", b"1" * 4096),
        (b"", b"HTTP/1.1 103 Early Hints\r\nx: %b\r\n\r\n" % (b"a" * 4096)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=", b"a" * 4096),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: %b\r\n" % (b"a" * 4096)),
    ],
    ids=["field", "status line", "interim answers", "chunk extension", "trailers"],
)
async def test_what_is_endless_beside_the_body_is_cut_off(start: bytes, more: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(start)
        for _ in range(1000):
            await wire.send(more)

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        with pytest.raises(UpstreamBroken, match=r"broke the protocol|more than 65536 bytes"):
            await get(pool)
        assert pool.taken == 0


async def test_an_upstream_that_is_not_there_is_unreachable() -> None:
    async with Upstream(serve_well) as upstream:
        pass
    async with pooled(upstream) as pool:
        for _ in range(3):
            with pytest.raises(UpstreamUnreachable) as caught:
                await get(pool)
            assert not caught.value.sent
            assert pool.taken == 0


async def test_a_connection_that_does_not_come_about_in_time_is_unreachable() -> None:
    async def silent(wire: Wire) -> None:
        await wire.gone()

    async with Upstream(silent) as upstream:
        pool = Pool(upstream.url.replace("http:", "https:"), connect_timeout=0.05)  # TLS is never answered
        with pytest.raises(UpstreamUnreachable, match="in time"):
            await get(pool)
        assert pool.taken == 0
        await pool.aclose()


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhalf"]
)
async def test_a_silent_upstream_is_a_timeout(said: bytes) -> None:
    async with Upstream(held(said)) as upstream, pooled(upstream, idle_timeout=0.05) as pool:
        with pytest.raises(UpstreamTimeout, match="silent") as caught:
            await get(pool)
        assert caught.value.sent
        assert pool.taken == 0


async def test_a_deadline_ends_an_answer_that_drips() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not wire.reader.at_eof():
            await wire.send(b"x")
            await asyncio.sleep(0.005)

    async with Upstream(script) as upstream, pooled(upstream, keep_alive=0.02) as pool:
        with pytest.raises(UpstreamTimeout, match="deadline"):
            await get(pool, deadline=asyncio.get_running_loop().time() + 0.1)


async def test_an_upload_outlives_the_deadline_as_long_as_it_moves() -> None:
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        await until(lambda: loop.time() > began)
        while sent < 2 * PROGRESS:
            sent += 16384
            yield bytes(16384)
        sent += 1
        await asyncio.Event().wait()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.gone()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        task = asyncio.create_task(get(pool, "PUT", body=body(), deadline=began + 600))
        await until(lambda: sent > 2 * PROGRESS)
        [connection] = pool._open
        connection.check(began + 600, 3600)
        assert not connection.closed
        connection.check(loop.time() + 600, 3600)
        with pytest.raises(ClientSlow, match="deadline"):
            await task


async def test_a_download_outlives_the_deadline_as_long_as_it_moves() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def script(wire: Wire) -> None:
        await wire.head()
        await until(lambda: loop.time() > began)
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(PROGRESS))
        await wire.gone()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        response = await pool.send("GET", b"/", [], deadline=began + 600)
        got = 0
        while got < PROGRESS:
            got += len(await response.read())
        [connection] = pool._open
        connection.check(began + 600, 3600)
        assert not connection.closed
        connection.check(loop.time() + 600, 3600)
        with pytest.raises(UpstreamTimeout, match="deadline"):
            await response.read()


async def test_only_the_upstream_s_own_silence_counts() -> None:
    """Neither a client that reads slowly nor one that sends slowly makes its upstream late."""

    async def flood(wire: Wire) -> None:
        request = await wire.head()
        if request.method == "GET":
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(1000):
                await wire.send(b"x" * 65536)
        await wire.gone()

    async with Upstream(flood) as upstream, pooled(upstream) as pool:
        later = asyncio.get_running_loop().time() + 3600
        reading = await pool.send("GET", b"/", [])
        [connection] = pool._open
        await until(lambda: not connection._reading)
        connection.check(later, 60)
        assert await reading.read()
        reading.abort()

        body = Parts([b"a"], stall=True)
        sending = asyncio.create_task(get(pool, "POST", body=body))
        await until(lambda: len(upstream.requests) == 2)
        [connection] = pool._open
        connection.check(later, 60)
        assert connection.usable is False
        assert pool.taken == 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


# -- request bodies


async def test_a_body_in_memory_goes_with_its_length() -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            seen.append(await wire.body())
            await wire.send(ok())

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        await get(pool, "POST", body=b"abc")
        await get(pool, "POST")
        await get(pool, "GET")
        await get(pool, "PUT", body=b"x" * 3_000_000)
        assert [len(body) for body in seen] == [3, 0, 0, 3_000_000]
        assert [request.all("content-length") for request in upstream.requests] == [["3"], ["0"], [], ["3000000"]]


@pytest.mark.parametrize("length", [None, 300_000])
async def test_a_streamed_body_goes_as_it_comes(length: int | None) -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            seen.append(await wire.body())
            await wire.send(ok())

    parts = [b"a" * 100_000, b"", b"b" * 1, b"c" * 199_999]
    async with Upstream(script) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            assert await get(pool, "POST", body=Parts(parts), length=length) == (200, b"ok")
        assert seen == [b"".join(parts)] * 2
        assert len(upstream.wires) == 1
        for request in upstream.requests:
            framing = (request.all("content-length"), request.all("transfer-encoding"))
            assert framing == (([], ["chunked"]) if length is None else (["300000"], []))


@pytest.mark.parametrize("parts", [[b"abc"], [b"abcdef"], [b"abc", b"abc"], []])
async def test_a_streamed_body_of_another_length_breaks_the_request_off(parts: list[bytes]) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.body()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        with pytest.raises(BodyMismatch):
            await get(pool, "POST", body=Parts(parts), length=5)
        assert pool.taken == 0
        await until(lambda: upstream.wires[0].left)


async def test_what_a_body_raises_reaches_the_caller_as_it_is() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise LookupError("too much")

    async with Upstream(held(b"")) as upstream, pooled(upstream) as pool:
        with pytest.raises(LookupError, match="too much"):
            await get(pool, "POST", body=failing())
        assert pool.taken == 0


async def test_an_upload_waits_for_an_upstream_that_reads_slowly() -> None:
    reading = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await reading.wait()
        total = len(await wire.body())
        await wire.send(ok(b"%d" % total))

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        body = Parts([b"x" * 65536] * 1000)
        task = asyncio.create_task(get(pool, "POST", body=body))
        await until(lambda: pool._open and not next(iter(pool._open))._writable)
        given = body.given
        assert given < 500
        for _ in range(20):
            await asyncio.sleep(0)
        assert body.given == given
        reading.set()
        assert await task == (200, b"65536000")


async def test_a_download_waits_for_a_reader_that_is_slow() -> None:
    sent = 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        while True:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 65536000\r\n\r\n")
            for _ in range(1000):
                await wire.send(b"x" * 65536)
                sent += 65536

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            sent = 0
            response = await pool.send("GET", b"/", [])
            [connection] = pool._open
            await until(lambda connection=connection: not connection._reading)
            assert HIGH_WATER < response.buffered < HIGH_WATER + 1_000_000
            assert sent < 60_000_000
            total = 0
            while not response.ended:
                total += len(await response.read())
                await asyncio.sleep(0)
            assert total == 65_536_000
        assert len(upstream.wires) == 1


async def test_an_answer_that_is_whole_frees_its_connection_before_it_is_read() -> None:
    big = b"x" * (HIGH_WATER * 2)

    async def script(wire: Wire) -> None:
        while True:
            await wire.answer(big)

    async with Upstream(script) as upstream, pooled(upstream, limit=1) as pool:
        first = await pool.send("GET", b"/", [])
        parts = [await first.read()]
        while not first.complete:
            parts.append(await first.read())
        second = await get(pool)
        assert b"".join(parts) + await whole(first) == second[1] == big
        assert len(upstream.wires) == 1


# -- early answers


@pytest.mark.parametrize("status", [b"413 Content Too Large", b"401 Unauthorized", b"503 Service Unavailable"])
async def test_an_early_refusal_stops_the_upload_and_closes_the_connection(status: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 %b\r\ncontent-length: 2\r\n\r\nno" % status)
        await wire.gone()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        body = Parts([b"a"], stall=True)
        assert await get(pool, "POST", body=body) == (int(status[:3]), b"no")
        assert pool.taken == 0
        await until(lambda: not pool._tasks)
        assert await get(pool, "POST", body=b"x") == (int(status[:3]), b"no")
        assert len(upstream.wires) == 2


async def test_an_early_refusal_stops_the_upload_before_its_own_body_is_whole() -> None:
    stopped = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nn")
        await stopped.wait()
        await wire.send(b"o")
        await wire.gone()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        response = await pool.send("POST", b"/", [], Parts([b"a"], stall=True))
        await until(lambda: not pool._tasks)
        stopped.set()
        assert await whole(response) == b"no"


async def test_an_early_answer_that_is_whole_closes_the_connection() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(ok(b"enough"))
        await wire.gone()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        body = Parts([b"a"], stall=True)
        assert await get(pool, "POST", body=body) == (200, b"enough")
        assert pool.taken == 0
        await until(lambda: not pool._tasks)


async def test_an_early_refusal_arrives_though_the_upstream_closes_with_the_upload_unread() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        wire.half_close()
        await wire.gone()

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        assert await get(pool, "POST", body=Parts([b"x" * 65536] * 10_000)) == (413, b"no")


async def test_an_answer_may_begin_before_the_upload_ends() -> None:
    """An upstream that answers part by part gets the whole body."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while part := await wire.chunk():
                await wire.send(b"%x\r\n%b\r\n" % (len(part), part.upper()))
            await wire.send(b"0\r\n\r\n")

    async with Upstream(script) as upstream, pooled(upstream) as pool:
        for _ in range(2):
            turn = asyncio.Queue[bytes]()

            async def body(turn: asyncio.Queue[bytes] = turn) -> AsyncIterator[bytes]:
                while part := await turn.get():
                    yield part

            turn.put_nowait(b"first")
            response = await pool.send("POST", b"/", [], body())
            for part in (b"second", b"third"):
                assert await response.read()
                turn.put_nowait(part)
            turn.put_nowait(b"")
            await whole(response)
            await until(lambda: pool.idle == 1)
        assert len(upstream.wires) == 1


# -- clients that leave


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\nhalf"])
async def test_a_client_that_leaves_ends_the_call(said: bytes) -> None:
    left = asyncio.Event()

    async def gone() -> None:
        await left.wait()

    async with Upstream(held(said)) as upstream, pooled(upstream, keep_alive=0.02) as pool:
        task = asyncio.create_task(get(pool, gone=gone))
        await until(lambda: upstream.requests)
        left.set()
        with pytest.raises(ClientGone):
            await task
        assert pool.taken == 0
        await until(lambda: upstream.wires[0].left)


async def test_a_watch_that_ends_too_late_does_no_harm_to_the_next_request() -> None:
    watched = asyncio.Event()
    end = asyncio.Event()

    async def stubborn() -> None:
        watched.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await end.wait()

    async def script(wire: Wire) -> None:
        await wire.head()
        await watched.wait()
        await wire.send(ok())
        await wire.head()
        end.set()
        await until(lambda: not pool._tasks)
        await wire.send(ok())

    async with Upstream(script) as upstream, pooled(upstream, idle_timeout=1, keep_alive=0.02) as pool:
        assert await get(pool, gone=stubborn) == (200, b"ok")
        assert await get(pool, "POST") == (200, b"ok")
        assert len(upstream.wires) == 1


async def test_a_client_that_leaves_during_its_upload_ends_the_call() -> None:
    async def leaving() -> AsyncIterator[bytes]:
        yield b"a"
        raise ClientGone("left")

    async with Upstream(held(b"")) as upstream, pooled(upstream) as pool:
        with pytest.raises(ClientGone):
            await get(pool, "POST", body=leaving())
        assert pool.taken == 0


async def test_an_answer_that_is_no_longer_wanted_closes_its_connection() -> None:
    async with Upstream(held(b"HTTP/1.1 200 OK\r\n\r\nhalf")) as upstream, pooled(upstream) as pool:
        response = await pool.send("GET", b"/", [])
        assert await response.read() == b"half"
        response.abort()
        assert pool.taken == 0
        with pytest.raises(ClientGone):
            await response.read()
        await until(lambda: upstream.wires[0].left)


# -- requests


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", b"/a b", []),
        ("GET", b"/a\r\nx: y", []),
        ("GET", b"http://elsewhere/", []),
        ("GET", b"", []),
        ("GET /x", b"/", []),
        ("CONNECT", b"/", []),
        ("GET", b"/", [(b"x", b"a\r\ny: b")]),
        ("GET", b"/", [(b"x", b"a\ny: b")]),
        ("GET", b"/", [(b"x", b"a\r")]),
        ("GET", b"/", [(b"x", b"a\0")]),
        ("GET", b"/", [(b"x\r\ny", b"a")]),
    ],
)
async def test_g3_what_would_be_more_than_one_request_is_not_sent(
    method: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    async with Upstream(serve_well) as upstream, pooled(upstream) as pool:
        with pytest.raises(Unsendable):
            await pool.send(method, target, headers)
        assert upstream.wires == []


async def test_g14_the_address_and_host_come_from_the_base_url_alone() -> None:
    async with Upstream(serve_well) as upstream:
        pool = Pool(upstream.url + "/base/")
        response = await pool.send("GET", b"/a%20b?q=1&q=2", [(b"accept", b"*/*")])
        assert response.status == 200
        [request] = upstream.requests
        assert (request.target, request.version) == ("/base/a%20b?q=1&q=2", "HTTP/1.1")
        assert request.fields == [("host", f"127.0.0.1:{upstream.port}"), ("accept", "*/*")]
        await pool.aclose()


@pytest.mark.parametrize(
    "url", ["", "users:3002", "ftp://users", "http://", "http://a@users", "http://users/?q", "http://users/#f"]
)
def test_a_base_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="give it as http://host:port"):
        Pool(url)


# -- on uvloop, whose transports differ in small ways


@pytest.mark.parametrize(
    "body",
    [
        test_connections_are_kept_and_used_again,
        test_a_cancelled_request_closes_its_connection,
        test_closing_fails_what_is_in_flight_and_leaves_nothing_open,
        test_a_body_without_framing_that_ends_in_a_reset_is_broken,
        test_an_upload_waits_for_an_upstream_that_reads_slowly,
        test_a_download_waits_for_a_reader_that_is_slow,
        test_an_early_refusal_arrives_though_the_upstream_closes_with_the_upload_unread,
        test_an_answer_may_begin_before_the_upload_ends,
        test_a_connection_that_does_not_come_about_in_time_is_unreachable,
    ],
)
def test_the_client_does_the_same_on_uvloop(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())


# -- against a second client


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "answer",
    [
        ok(b"x" * 100_000, b"x-a: 1\r\nX-B:  spaced  \r\nset-cookie: a\r\nset-cookie: b\r\nx-empty:\r\n"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 404\r\ncontent-length: 4\r\n\r\ngone",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\ncontent-type: text/plain\r\n\r\nuntil close",
    ],
    ids=["length", "chunks", "redirect", "no reason", "empty", "close"],
)
async def test_another_client_sees_the_same(method: str, answer: bytes) -> None:
    data = answer if method != "HEAD" else answer[: answer.index(b"\r\n\r\n") + 4]
    body = b"some bytes" if method in ("POST", "PUT", "PATCH") else b""
    async with Upstream(once(data)) as upstream, pooled(upstream) as pool:
        response = await pool.send(method, b"/p?q=%20", [(b"accept", b"*/*")], body)
        got = await whole(response)
        async with httpx.AsyncClient(trust_env=False) as client:
            other = await client.request(
                method, f"{upstream.url}/p?q=%20", content=body or None, headers={"accept-encoding": "identity"}
            )
        assert response.status == other.status_code
        assert response.headers == [(name.lower(), value) for name, value in other.headers.raw]
        assert got == other.content
        ours, theirs = upstream.requests
        assert (ours.method, ours.target, ours["host"]) == (theirs.method, theirs.target, theirs["host"])
        assert ours.all("content-length") == theirs.all("content-length")
