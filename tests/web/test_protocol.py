"""The server's side of a connection: what is refused by its form, and what takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from framings import GET, POST, REFUSED, TAKEN
from raw_http import Served, exchange, line, moved_by_hand, parse, serve, serving, until
from small_app import shop

from orion_core.web.access import STREAMS
from orion_core.web.protocol import _REFUSED, LINGER

CLOSE = b"Connection: close\r\n\r\n"


class App:
    """An application that reads what it is sent and answers 200; `asked` is what reached it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.received = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            self.received = len(body)
            more = message["more_body"]
        self.asked.append(f"{scope['method']} {scope['path']}")
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_in_doubtful_form_is_refused_and_reaches_nothing(name: str) -> None:
    """G3 and G1: a problem document with a request id, and the connection closes."""
    status, request = REFUSED[name]
    app = App()
    async with serving(app) as port:
        answer = parse(await exchange(port, request))

    assert answer.status == status, answer
    assert answer.problem["detail"]
    assert answer["connection"] == "close"
    assert answer["x-content-type-options"] == "nosniff"
    assert (dict(answer.headers).get("allow") is not None) == (status == 405)
    assert "server" not in dict(answer.headers)
    assert answer.rest == b""
    assert app.asked == []


@pytest.mark.parametrize("name", TAKEN)
async def test_a_request_at_the_border_is_taken(name: str) -> None:
    """G3."""
    app = App()
    async with serving(app) as port, line(port) as client:
        await client.send(TAKEN[name])
        answer = await client.answer()

    assert (answer.status, app.asked) == (200, ["GET /health/live"])


async def test_a_refusal_keeps_a_harmless_request_id_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """G60 and G61: also for what no application sees; the query is not logged."""
    caplog.set_level(logging.INFO, "orion.access")
    bad = b"GET /a?token=hunter2 HTTP/1.1\r\nHost: x\r\nX-Request-Id: order-7\r\nHost: y\r\n\r\n"
    async with serving(App()) as port:
        answer = parse(await exchange(port, bad))

    assert answer.problem["request_id"] == "order-7"
    assert answer.problem["instance"] == "/a"
    [record] = [record for record in caplog.records if record.name == "orion.access"]
    logged = vars(record)
    assert (logged["status"], logged["path"], logged["client_ip"]) == (400, "/a", "127.0.0.1")
    assert logged["request_id"] == "order-7"
    assert "hunter2" not in json.dumps(logged, default=str)


async def test_a_refused_second_request_on_a_connection_does_not_touch_the_first() -> None:
    """G3: neither sent one after the other nor in one piece."""
    for apart in (True, False):
        app = App()
        bad = REFUSED["length and coding"][1]
        async with serving(app) as port, line(port) as client:
            if apart:
                await client.send(GET + b"\r\n")
                assert (await client.answer()).status == 200
                await client.send(bad)
                assert parse(await client.rest()).status == 400
            else:
                await client.send(GET + b"\r\n" + bad)
                answer = parse(await client.rest())
                assert (answer.status, answer.rest) == (200, b"")
        assert app.asked == ["GET /health/live"]


async def test_a_refusal_tells_nothing_of_the_request_before() -> None:
    """G60: behind a proxy it may have been somebody else's."""
    async with serving(App()) as port, line(port) as client:
        await client.send(b"GET /mine HTTP/1.1\r\nHost: x\r\nX-Request-Id: theirs\r\n\r\n")
        assert (await client.answer()).status == 200
        await client.send(b"\x16\x03\x01")
        answer = parse(await client.rest())

    assert answer.status == 400
    assert answer.problem["request_id"] != "theirs"
    assert answer.problem["instance"] == ""


async def test_pipelined_requests_are_answered_in_order() -> None:
    app = App()
    async with serving(app) as port:
        raw = await exchange(port, GET + b"\r\n" + GET + b"\r\n" + GET + CLOSE)

    first = parse(raw)
    second = parse(first.rest)
    third = parse(second.rest)
    assert [each.status for each in (first, second, third)] == [200, 200, 200]
    assert (third.rest, len(app.asked)) == (b"", 3)


async def test_a_trailer_is_no_header() -> None:
    """It would come to stand among headers that were checked already."""
    seen: list[Any] = []
    app = App()

    async def spy(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        seen.extend(scope["headers"])

    async with serving(spy) as port, line(port) as client:
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-User-Id: root\r\n\r\n")
        assert (await client.answer()).status == 200

    assert app.bodies == [b"hello"]
    assert [name for name, _ in seen] == [b"host", b"transfer-encoding"]


async def test_the_body_behind_a_refused_length_is_never_read_as_a_request() -> None:
    """The classic of request smuggling: what one reads as a body the other reads as a request."""
    inner = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
    app = App()
    async with serving(app) as port:
        for attack in (
            POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + inner,
            POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + inner,
            POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n\r\n" + inner,
        ):
            assert parse(await exchange(port, attack)).rest == b""

    assert app.asked == []


# -- time


async def test_a_head_that_is_not_whole_in_time_is_408() -> None:
    """G41: 10 s, which bytes that come meanwhile do not move."""
    async with serve(App()) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(GET)
        await until(lambda: served.connections and served.connections[0]._head_bytes)
        for second in range(1, 5):
            await clock.advance(2.4)
            await client.send(b"A: b\r\n")
            await until(_has(served, "_head_bytes", len(GET) + 6 * second))
        await clock.advance(1)
        answer = parse(await client.rest())

    assert answer.status == 408
    assert "head" in answer.problem["detail"]


async def test_a_connection_on_which_nothing_comes_is_closed() -> None:
    """G41."""
    async with serve(App()) as served, line(served.port) as client:
        clock = moved_by_hand()
        await until(lambda: served.connections)
        await clock.advance(9)
        assert served.connections
        await clock.advance(1.5)
        assert await client.rest() == b""


async def test_a_body_that_stands_still_is_408_and_the_application_learns_that_its_client_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """G41: and the request has one line in the access log, and none about a defect."""
    caplog.set_level(logging.INFO, "orion.access")
    head = b"POST /api/v1/shop/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with serve(shop()) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(head + b"Content-Length: 40\r\n\r\n{")
        await until(lambda: served.connections and served.connections[0]._moved)
        await clock.advance(14)
        assert served.connections[0].cycle.disconnected is False
        await clock.advance(2)
        answer = parse(await client.rest())

    assert answer.status == 408
    assert "byte" in answer.problem["detail"]
    assert [vars(each)["status"] for each in caplog.records if each.name == "orion.access"] == [408]
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize("coding", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_drips_is_408_after_the_total_time(coding: bytes) -> None:
    """G41: no single pause is too long, all together are."""
    app = App()
    piece = b"x" if coding.startswith(b"Content") else b"1\r\nx\r\n"
    async with serve(app) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(POST + coding + b"\r\n\r\n")
        for count in range(1, 6):
            await client.send(piece)
            await until(_has(served, "_moved", count))
            await clock.advance(11)
        assert served.connections[0].cycle.disconnected is False
        await client.send(piece)
        await until(lambda: served.connections[0]._moved == 6)
        await clock.advance(6)
        answer = parse(await client.rest())

    assert answer.status == 408
    assert "whole" in answer.problem["detail"]
    assert app.asked == []


async def test_a_stream_may_take_longer_than_the_total_time_as_long_as_it_moves() -> None:
    """G41: a route declared streaming has idle limits, and has to move 64 KiB in the time of a request."""
    app = App()

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        scope[STREAMS] = True
        await app(scope, receive, send)

    async with serve(streaming) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % (20 * 65536))
        for count in range(20):
            await client.send(b"x" * 65536)
            await until(_is(app, "received", (count + 1) * 65536))
            await clock.advance(14)
        answer = await client.answer()

    assert (answer.status, len(app.bodies[0])) == (200, 20 * 65536)


async def test_a_stream_that_drips_is_ended_too() -> None:
    """G41."""
    app = App()

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        scope[STREAMS] = True
        await app(scope, receive, send)

    async with serve(streaming) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(POST + b"Content-Length: 1000000\r\n\r\n")
        for count in range(1, 7):
            await client.send(b"x")
            await until(_is(app, "received", count))
            await clock.advance(11)
        assert parse(await client.rest()).status == 408


@pytest.mark.parametrize("whole", [True, False])
async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(whole: bool) -> None:
    """G41: slow reading, of a stream and of an answer that the application has handed over at once."""
    ended = asyncio.Event()
    size = 64 * 1024 * 1024

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        parts = 1 if whole else 1024
        for number in range(parts):
            more = number < parts - 1
            await send({"type": "http.response.body", "body": b"x" * (size // parts), "more_body": more})
        ended.set()

    async with serve(large) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        clock = moved_by_hand()
        writer.write(GET + b"\r\n")
        await until(lambda: served.connections and served.connections[0].flow.write_paused)
        [connection] = served.connections
        for _ in range(20):
            await clock.advance(1)
        await until(lambda: not served.connections)
        await asyncio.wait_for(ended.wait(), 30)
        assert connection.transport.is_closing()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(size)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_client_that_waits_for_100_continue_is_not_slow() -> None:
    """The application has not asked for the body yet: nobody may be blamed for not sending it."""
    asks = asyncio.Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await asks.wait()
        await App()(scope, receive, send)

    async with serve(late) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await until(lambda: served.connections and served.connections[0].cycle)
        for _ in range(8):
            await clock.advance(10)
        asks.set()
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        assert (await client.answer()).status == 200


async def test_a_slow_application_is_not_taken_for_a_slow_client() -> None:
    """The time of the client ends with its request."""
    asks = asyncio.Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await asks.wait()
        await App()(scope, receive, send)

    async with serve(late) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(POST + b"Content-Length: 5\r\n\r\nhello")
        await until(lambda: served.connections and served.connections[0].cycle)
        for _ in range(8):
            await clock.advance(10)
        asks.set()
        assert (await client.answer()).status == 200


async def test_a_refused_client_may_go_on_sending_for_a_moment_only() -> None:
    """An end at once would reset the answer away; an end that never comes would be one more way to hold a place."""
    async with serve(App()) as served, line(served.port) as client:
        clock = moved_by_hand()
        await client.send(REFUSED["two hosts"][1])
        await until(lambda: served.connections and served.connections[0]._state == _REFUSED)
        await clock.advance(1)
        assert served.connections
        await clock.advance(LINGER)
        await until(lambda: not served.connections)


async def test_healthy_requests_are_answered_while_200_slow_connections_hang() -> None:
    """G41: slow heads, slow bodies and slow readers; how much slower is measured by benchmarks/slow_clients.py."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/large":
            await App()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})

    beginnings = (b"GET / HTT", POST + b"Content-Length: 50\r\n\r\nhello", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    async with serving(app) as port, contextlib.AsyncExitStack() as hanging:
        slow = [await hanging.enter_async_context(line(port)) for _ in range(200)]
        for number, each in enumerate(slow):
            await each.send(beginnings[number % 3])
        async with line(port) as client:
            for _ in range(50):
                await client.send(GET + b"\r\n")
                assert (await client.answer()).status == 200
        assert not any(each.writer.is_closing() or each.reader.at_eof() for each in slow)


def _is(thing: object, name: str, value: object) -> Callable[[], bool]:
    return lambda: getattr(thing, name) == value


def _has(served: Served, name: str, value: object) -> Callable[[], bool]:
    """Whether the server's end of the one connection has `value` as its `name`."""
    return lambda: [getattr(each, name) for each in served.connections] == [value]
