"""WebSockets through the gateway, between a real server and a second client and server of the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvicorn
import uvloop
from chain import chained
from test_replicas import closed_url
from upstream import Upstream, Wire, held, once, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from orion_core.context import Context, use
from orion_plugins.gateway.connection import HIGH_WATER
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.upstreams import Upstream as Chain

Handler = Callable[[ServerConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def upstream(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """A WebSocket server of another make, on a free port; its base URL."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@contextlib.asynccontextmanager
async def served(app: Any, *, max_size: int = 1_048_576) -> AsyncIterator[str]:
    """Serve `app` as `orion run` does; the base URL for WebSockets."""

    async def with_context(scope: Any, receive: Any, send: Any) -> None:
        with use(Context(correlation_id="r-1")):
            await app(scope, receive, send)

    config = uvicorn.Config(
        with_context,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=max_size,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            await until(lambda: server.started)
            yield f"ws://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@contextlib.asynccontextmanager
async def through(url: str, *, max_size: int = 1_048_576, **given: Any) -> AsyncIterator[tuple[str, Chain]]:
    """A gateway in front of the upstream at `url`."""
    async with chained(url, **given) as chain, served(chain, max_size=max_size) as base:
        yield base, chain


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def silent(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def closed(connection: ClientConnection) -> tuple[int, str]:
    """The code and reason with which the other side ends `connection`."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""


async def refused(url: str, **options: Any) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, **options)
    return caught.value.response


# -- messages


async def test_messages_go_both_ways_as_they_are() -> None:
    """Text stays text and bytes stay bytes, empty and long ones too; one sent in pieces arrives whole."""
    sent = ["", "ä€𝄞", b"", b"\x00\xff", "x" * 200_000, b"y" * 200_000]
    async with upstream(echo) as url, through(url) as (base, _), connect(f"{base}/shop") as client:
        for message in sent:
            await client.send(message)
            assert await client.recv() == message
        await client.send(["in ", "three ", "pieces"])
        assert await client.recv() == "in three pieces"


async def test_the_upstream_speaks_without_being_asked_and_in_pieces() -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(str(number))
        await connection.send([b"a", b"b"])

    async with upstream(handler) as url, through(url) as (base, _), connect(f"{base}/shop") as client:
        got = [message async for message in client]
    assert got == [*map(str, range(100)), b"ab"]


async def test_the_handshake_is_forwarded_like_any_request() -> None:
    """G11: forwarding fields are the gateway's own; nothing of the client's hop goes on, the query does."""
    seen: list[Request] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request)

    sent = {"x-forwarded-for": "203.0.113.9", "x-user-id": "admin", "x-mine": "1", "cookie": "a=b"}
    async with (
        upstream(handler, subprotocols=["v2"]) as url,
        through(url, add_headers={"x-shop": "1"}) as (base, _),
        connect(
            f"{base}/shop/a%20b?q=%2F", additional_headers=sent, subprotocols=["v1", "v2"], origin="https://x.example"
        ) as client,
    ):
        assert client.subprotocol == "v2"
        await client.wait_closed()

    [request] = seen
    headers = request.headers
    assert request.path == "/shop/a%20b?q=%2F"
    assert (headers["x-mine"], headers["x-shop"], headers["origin"]) == ("1", "1", "https://x.example")
    assert headers["host"] == url.removeprefix("http://")
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-request-id"] == "r-1"
    assert headers["sec-websocket-protocol"] == "v1, v2"
    for name in ("x-user-id", "cookie", "sec-websocket-extensions"):
        assert name not in headers


async def test_fields_of_the_upstream_s_answer_reach_the_client() -> None:
    def extra(_: ServerConnection, __: Request, response: Response) -> Response:
        response.headers["Set-Cookie"] = "a=b"
        response.headers["X-Dropped"] = "1"
        return response

    async with (
        upstream(silent, process_response=extra) as url,
        through(url, drop_response_headers=("x-dropped",)) as (base, _),
        connect(f"{base}/shop") as client,
    ):
        assert client.response is not None
        assert client.response.headers["set-cookie"] == "a=b"
        assert "x-dropped" not in client.response.headers
        assert len(client.response.headers.get_all("sec-websocket-accept")) == 1


# -- the end


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1001, "away"), (1008, "no"), (1011, "ä"), (3000, ""), (4999, "x")]
)
async def test_a_close_goes_on_with_its_code_and_reason(code: int, reason: str) -> None:
    heard: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        if await anext(aiter(connection)) == "you first":
            await connection.close(code, reason)
            return
        await connection.wait_closed()
        heard.put_nowait((connection.close_code, connection.close_reason))

    async with upstream(handler) as url, through(url) as (base, chain):
        async with connect(f"{base}/shop") as client:
            await client.send("you first")
            assert await closed(client) == (code, reason)
        async with connect(f"{base}/shop") as client:
            await client.send("me first")
            await client.close(code, reason)
            async with asyncio.timeout(5):
                assert await heard.get() == (code, reason)
        await until(lambda: chain._websockets.serving == 0)


async def test_an_upstream_that_ends_without_a_word_is_1014() -> None:
    """G2: a client never takes what was cut off for an end in order."""

    async def handler(connection: ServerConnection) -> None:
        await connection.send("last words")
        connection.transport.abort()

    async with upstream(handler) as url, through(url) as (base, _), connect(f"{base}/shop") as client:
        assert await client.recv() == "last words"
        assert (await closed(client))[0] == 1014


async def test_a_client_that_vanishes_ends_the_upstream_s_side() -> None:
    """G52."""
    ended = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        ended.set()

    async with upstream(handler) as url, through(url) as (base, _), connect(f"{base}/shop") as client:
        client.transport.abort()
        async with asyncio.timeout(5):
            await ended.wait()


async def test_an_upstream_that_hears_nothing_any_more_is_given_up() -> None:
    """A connection whose other end is gone says nothing: pings find out."""

    async def script(wire: Wire) -> None:
        await accept(wire)
        await wire.gone()  # reads, but answers no ping

    async with Upstream(script) as deaf, chained(deaf.url) as chain:
        chain._websockets._beat = 0.02
        async with served(chain) as base, connect(f"{base}/shop") as client:
            assert (await closed(client))[0] == 1014


async def accept(wire: Wire) -> None:
    """Accept the handshake of a raw upstream."""
    from websockets.utils import accept_key

    key = (await wire.head())["sec-websocket-key"]
    await wire.send(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: %b\r\n\r\n" % accept_key(key).encode()
    )


BROKEN = {
    "a masked frame": b"\x81\x82abcdxy",
    "a reserved bit": b"\xc1\x01x",
    "an opcode that does not exist": b"\x83\x01x",
    "a continuation of nothing": b"\x80\x01x",
    "text that is not UTF-8": b"\x81\x01\xff",
    "a ping of more than 125 bytes": b"\x89\x7e\x00\x7e" + b"x" * 126,
    "half a frame": b"\x81\x05he",
}


@pytest.mark.parametrize("frame", BROKEN)
async def test_an_upstream_that_breaks_the_protocol_is_closed_and_never_relayed(frame: str) -> None:
    async def script(wire: Wire) -> None:
        await accept(wire)
        await wire.send(b"\x81\x02ok" + BROKEN[frame])
        if frame == "half a frame":
            return
        await wire.gone()

    async with Upstream(script) as broken, through(broken.url) as (base, _), connect(f"{base}/shop") as client:
        assert await client.recv() == "ok"
        assert (await closed(client))[0] == 1014
        await until(lambda: broken.wires[0].left)


async def test_a_message_over_the_limit_ends_both_sides_with_1009() -> None:
    """G40: counted as it comes, before it is whole."""
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            if await anext(aiter(connection)) == "send much":
                await connection.send(b"x" * 2000)
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    few = GatewaySettings(websocket_message=1000)
    async with upstream(handler) as url, through(url, gateway=few, max_size=1000) as (base, _):
        async with connect(f"{base}/shop") as client:
            await client.send("send much")
            assert (await closed(client))[0] == 1009
        async with connect(f"{base}/shop") as client:
            await client.send(b"x" * 2000)
            assert (await closed(client))[0] == 1009
        async with asyncio.timeout(5):
            assert [await codes.get(), await codes.get()] == [1009, 1009]


# -- back-pressure


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    sent = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(b"x" * 65536)
                sent += 65536

    async with upstream(handler) as url, through(url) as (base, chain):
        client = await connect(f"{base}/shop", max_queue=1)
        await until(lambda: chain._websockets._links and not next(iter(chain._websockets._links))._reading)
        [link] = chain._websockets._links
        assert link._waiting <= HIGH_WATER + 256 * 1024
        assert sent < 100_000_000
        client.transport.abort()
        await until(lambda: not chain._websockets._links)


async def test_an_upstream_that_does_not_read_stops_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orion_plugins.gateway.websocket_link._LINGER", 0.05)  # it answers no close frame
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await accept(wire)
        await go.wait()
        await wire.gone()

    async with Upstream(script) as slow, through(slow.url) as (base, chain):
        client = await connect(f"{base}/shop")
        got = 0

        async def push() -> None:
            nonlocal got
            while True:
                await client.send(b"x" * 65536)
                got += 65536

        task = asyncio.create_task(push())
        await until(lambda: chain._websockets._links and not next(iter(chain._websockets._links))._writable)
        await until(lambda: not task.done() and got > 0)
        assert got < 100_000_000
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        client.transport.abort()
        go.set()
        await until(lambda: not chain._websockets._links)


# -- handshakes that fail


async def test_a_refusal_reaches_the_client_with_its_status_and_body() -> None:
    """G2: a 4xx passes with its body."""

    def no(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(401, "who are you?")

    async with upstream(silent, process_request=no) as url, through(url) as (base, chain):
        response = await refused(f"{base}/shop")
        assert (response.status_code, response.body) == (401, b"who are you?")
        assert chain.circuit.state == "closed"


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"HTTP/1.1 500 X\r\ncontent-length: 6\r\n\r\nsecret", 500, b"gateway.upstream_error"),
        (b"HTTP/1.1 101 X\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n", 502, b"gateway.bad_upstream"),
        (b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n", 502, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n", 502, b"gateway.bad_upstream"),
        (b"SSH-2.0-x\r\n\r\n", 502, b"gateway.bad_upstream"),
        (b"", 502, b"gateway.bad_upstream"),
    ],
)
async def test_an_upstream_that_fails_at_the_handshake_is_a_problem(answer: bytes, status: int, code: bytes) -> None:
    """G1, G2."""
    async with Upstream(once(answer)) as bad, through(bad.url) as (base, _):
        response = await refused(f"{base}/shop")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert code in bytes(response.body or b"")
    assert b"secret" not in bytes(response.body or b"")


async def test_an_upstream_that_says_nothing_to_a_handshake_is_504() -> None:
    """G1."""
    async with Upstream(held(b"")) as mute, through(mute.url, timeout=0.05) as (base, _):
        assert (await refused(f"{base}/shop")).status_code == 504
        await until(lambda: mute.wires[0].left)


async def test_handshakes_pass_the_breaker() -> None:
    """G50: connect errors open it, then nobody waits, and three that are accepted close it."""
    now = [0.0]
    async with upstream(echo) as url:
        port = int(url.rsplit(":", 1)[1])
    async with through(url, now=lambda: now[0]) as (base, chain):
        for _ in range(5):
            assert b"upstream_unreachable" in bytes((await refused(f"{base}/shop")).body or b"")
        response = await refused(f"{base}/shop")
        assert b"breaker_open" in bytes(response.body or b"")
        assert 1 <= int(response.headers["retry-after"]) <= 10
        now[0] += 10
        async with serve(echo, "127.0.0.1", port):
            for _ in range(3):
                async with connect(f"{base}/shop") as client:
                    await client.send("hi")
                    assert await client.recv() == "hi"
            assert chain.circuit.state == "closed"


async def test_a_replica_that_cannot_be_reached_is_passed_over() -> None:
    """G51: nothing was sent to it."""
    async with upstream(echo) as url, chained(closed_url(), url) as chain, served(chain) as base:
        for _ in range(4):
            async with connect(f"{base}/shop") as client:
                await client.send("hi")
                assert await client.recv() == "hi"


async def test_there_are_not_more_than_allowed() -> None:
    async with upstream(echo) as url, through(url, gateway=GatewaySettings(websockets=2)) as (base, chain):
        async with connect(f"{base}/shop"), connect(f"{base}/shop"):
            assert (await refused(f"{base}/shop")).status_code == 503
        assert chain.circuit.state == "closed"
        await until(lambda: chain._websockets.serving == 0)
        async with connect(f"{base}/shop") as client:
            await client.send("again")
            assert await client.recv() == "again"


async def test_stopping_closes_what_is_open() -> None:
    """G81: both sides hear 1001, going away."""
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    async with upstream(handler) as url, through(url) as (base, chain), connect(f"{base}/shop") as client:
        await chain.aclose()
        async with asyncio.timeout(5):
            assert await codes.get() == 1001
            assert (await closed(client))[0] == 1001


async def test_a_server_that_cannot_refuse_with_an_answer_closes() -> None:
    """The extension is optional in ASGI; without it the client gets 403."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "scheme": "ws", "path": "/shop", "headers": [], "client": None}
    async with chained(closed_url()) as chain:
        with use(Context()):
            await chain(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1011}]


# -- on uvloop, whose transports differ in small ways


@pytest.mark.parametrize(
    "body",
    [
        test_messages_go_both_ways_as_they_are,
        test_an_upstream_that_ends_without_a_word_is_1014,
        test_a_client_that_vanishes_ends_the_upstream_s_side,
        test_a_client_that_does_not_read_stops_the_upstream,
        test_a_refusal_reaches_the_client_with_its_status_and_body,
    ],
)
def test_it_is_the_same_on_uvloop(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())
