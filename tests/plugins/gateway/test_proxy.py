"""The proxy: what an upstream gets, what a client gets, and what each learns when the other fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import attrs
import httpx
import pytest
import uvicorn
from upstream import Request, Script, Upstream, Wire, held, ok, once, serve_well, until

from orion_core.context import Context, use
from orion_core.errors import TooLarge
from orion_plugins.gateway.client import UpstreamBroken, UpstreamTimeout
from orion_plugins.gateway.pool import Pool
from orion_plugins.gateway.proxy import Proxy
from orion_plugins.gateway.upstream_problems import Message, Receive, Scope, Send


@attrs.define
class Client:
    """An ASGI server's side of one request: give it a body part by part, see the answer as it comes."""

    method: str = "GET"
    path: str = "/"
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    parts: list[bytes | Exception] = attrs.field(factory=list)
    sent: list[Message] = attrs.field(factory=list)
    left: asyncio.Event = attrs.field(factory=asyncio.Event)
    given: int = 0
    stall_at: int = -1
    """The number of the part that never comes."""

    @property
    def scope(self) -> Scope:
        return {
            "type": "http",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": quote(self.path, safe="/%").encode(),
            "query_string": self.query,
            "headers": [(b"host", b"api.example.org"), *self.headers],
            "client": ("198.51.100.7", 40000),
        }

    async def receive(self) -> Message:
        if self.given != self.stall_at and self.given < max(1, len(self.parts)):
            part = self.parts[self.given] if self.parts else b""
            self.given += 1
            if isinstance(part, Exception):
                raise part
            return {"type": "http.request", "body": part, "more_body": self.given < len(self.parts)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def answer(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def whole(self) -> bool:
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body", False)

    @property
    def problem(self) -> dict[str, Any]:
        assert self.answer[b"content-type"] == b"application/problem+json"
        assert self.answer[b"content-length"] == b"%d" % len(self.body)
        assert self.whole
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


@contextlib.asynccontextmanager
async def proxying(script: Script, **options: Any) -> AsyncIterator[tuple[Proxy, Upstream]]:
    async with Upstream(script) as upstream:
        pool = Pool(upstream.url, **options)
        try:
            yield Proxy(pool, service="users"), upstream
        finally:
            await pool.aclose()


async def ask(proxy: Proxy, client: Client) -> Client:
    with use(Context(correlation_id="r-1")):
        await proxy(client.scope, client.receive, client.send)
    return client


# -- what goes through


async def test_a_request_arrives_as_it_was_sent_and_the_answer_as_it_was_given() -> None:
    seen: list[tuple[Request, bytes]] = []

    async def script(wire: Wire) -> None:
        request = await wire.head()
        seen.append((request, await wire.body()))
        await wire.send(b"HTTP/1.1 201 Created\r\ndate: then\r\nserver: x\r\nx-a: 1\r\ncontent-length: 4\r\n\r\nmade")

    async with proxying(script) as (proxy, upstream):
        client = await ask(
            proxy,
            Client(
                "POST",
                "/a%20b/%C3%A9",
                b"q=%2F&q=2",
                [(b"content-length", b"5"), (b"authorization", b"Bearer t"), (b"x-forwarded-for", b"203.0.113.9")],
                [b"bytes"],
            ),
        )
        [(request, body)] = seen
        assert (request.method, request.target, body) == ("POST", "/a%20b/%C3%A9?q=%2F&q=2", b"bytes")
        assert request["host"] == f"127.0.0.1:{upstream.port}"
        assert request["x-forwarded-host"] == "api.example.org"
        assert request["x-forwarded-for"] == "198.51.100.7"
        assert request["x-request-id"] == "r-1"
        assert request.all("authorization") == []
        assert request["content-length"] == "5"
        assert client.status == 201
        assert client.sent[0]["headers"] == [(b"x-a", b"1"), (b"content-length", b"4")]
        assert (client.body, client.whole) == (b"made", True)


async def test_an_answer_streams_as_it_comes() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            await wire.send(b"7\r\ndata: %d\r\n" % number)
            await until(lambda number=number: len(client.sent) > number + 1)
        await wire.send(b"0\r\n\r\n")

    client = Client()
    async with proxying(script) as (proxy, _):
        await ask(proxy, client)
        assert [message["body"] for message in client.sent[1:4]] == [b"data: 0", b"data: 1", b"data: 2"]
        assert client.whole


@pytest.mark.parametrize("framing", [(b"content-length", b"6"), (b"transfer-encoding", b"chunked")])
async def test_a_request_body_streams_as_it_comes(framing: tuple[bytes, bytes]) -> None:
    async def script(wire: Wire) -> None:
        request = await wire.head()
        read = wire.chunk if request.all("transfer-encoding") else lambda: wire.reader.readexactly(3)
        assert await read() == b"one"
        more.set()
        assert await read() == b"two"
        if request.all("transfer-encoding"):
            assert await wire.chunk() == b""
        await wire.send(ok())

    class Slow(Client):
        async def receive(self) -> Message:
            if self.given == 1:
                await more.wait()
            return await super().receive()

    more = asyncio.Event()
    async with proxying(script) as (proxy, _):
        client = await ask(proxy, Slow("PUT", headers=[framing], parts=[b"one", b"two"]))
        assert (client.status, client.body) == (200, b"ok")


@pytest.mark.parametrize("status", [b"400 Bad Request", b"404 Not Found", b"409 Conflict", b"429 Too Many Requests"])
async def test_g2_a_4xx_passes_with_its_body(status: bytes) -> None:
    answer = b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nwhy" % status
    async with proxying(once(answer)) as (proxy, _):
        client = await ask(proxy, Client())
        assert (client.status, client.body) == (int(status[:3]), b"why")


async def test_g2_a_5xx_that_is_problem_json_passes_with_its_body() -> None:
    body = b'{"status":503,"code":"x.away"}'
    answer = b"HTTP/1.1 503 Away\r\ncontent-type: Application/Problem+JSON; charset=utf-8\r\ncontent-length: %d\r\n\r\n"
    async with proxying(once(answer % len(body) + body)) as (proxy, _):
        client = await ask(proxy, Client())
        assert (client.status, client.body) == (503, body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("length", [b"content-length: 40\r\n", b""])
async def test_g2_the_body_of_any_other_5xx_is_replaced(length: bytes, method: str) -> None:
    head = b"HTTP/1.1 500 Oh\r\ncontent-type: text/html\r\nset-cookie: a\r\nretry-after: 7\r\n" + length + b"\r\n"
    answer = head if method == "HEAD" else head + b"Traceback: 10.0.0.3 has no such password"
    async with proxying(held(answer)) as (proxy, upstream):
        client = await ask(proxy, Client(method, "/api/v1/users/x"))
        assert client.status == 500
        assert client.answer[b"retry-after"] == b"7"
        assert b"set-cookie" not in client.answer
        if method == "HEAD":
            assert client.body == b""
        else:
            assert client.problem == {
                "type": "urn:orion:gateway.upstream_error",
                "title": "Upstream error",
                "status": 500,
                "detail": "the service users failed",
                "code": "gateway.upstream_error",
                "instance": "/api/v1/users/x",
                "request_id": "r-1",
            }
        if not length:
            await until(lambda: upstream.wires[0].left)


async def test_g13_redirects_are_not_followed() -> None:
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example/\r\ncontent-length: 0\r\n\r\n"
    async with proxying(once(answer)) as (proxy, upstream):
        client = await ask(proxy, Client(headers=[(b"authorization", b"Bearer t")]))
        assert (client.status, client.answer[b"location"]) == (302, b"http://elsewhere.example/")
        assert len(upstream.requests) == 1


# -- when the upstream fails


async def test_g1_an_upstream_that_is_not_there_is_503() -> None:
    async with proxying(serve_well) as (proxy, upstream):
        await upstream.__aexit__(None, None, None)
        client = await ask(proxy, Client(path="/api/v1/users/a b"))
        assert client.answer[b"retry-after"] == b"1"
        assert client.problem == {
            "type": "urn:orion:gateway.upstream_unreachable",
            "title": "Upstream unreachable",
            "status": 503,
            "detail": "the service users cannot be reached",
            "code": "gateway.upstream_unreachable",
            "retry_after": 1.0,
            "instance": "/api/v1/users/a%20b",
            "request_id": "r-1",
        }
        assert b"127.0.0.1" not in client.body
        assert str(upstream.port).encode() not in client.body


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"nonsense\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_g1_an_upstream_that_breaks_before_its_answer_is_502(answer: bytes) -> None:
    async with proxying(once(answer)) as (proxy, _):
        client = await ask(proxy, Client())
        assert client.problem["code"] == "gateway.bad_upstream"
        assert client.problem["detail"] == "the service users gave no usable answer"
        assert (client.status, client.problem["request_id"], client.problem["instance"]) == (502, "r-1", "/")


async def test_g1_an_upstream_that_does_not_answer_in_time_is_504() -> None:
    async with proxying(held(b""), idle_timeout=0.02) as (proxy, _):
        client = await ask(proxy, Client())
        assert (client.status, client.problem["code"]) == (504, "gateway.upstream_timeout")


async def test_g52_the_deadline_of_the_context_counts() -> None:
    async with proxying(held(b""), keep_alive=0.02) as (proxy, _):
        client = Client()
        with use(Context(deadline=asyncio.get_running_loop().time() + 0.5)):
            await proxy(client.scope, client.receive, client.send)
        assert client.status == 504


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_g2_an_upstream_that_dies_in_mid_body_raises_and_ends_nothing(answer: bytes) -> None:
    client = Client()
    async with proxying(once(answer)) as (proxy, _):
        with pytest.raises(UpstreamBroken):
            await ask(proxy, client)
        assert client.status == 200
        assert not any(message.get("more_body") is False for message in client.sent[1:])


async def test_g2_an_upstream_that_falls_silent_in_mid_body_raises() -> None:
    async with proxying(held(b"HTTP/1.1 200 OK\r\n\r\nhalf"), idle_timeout=0.02) as (proxy, _):
        with pytest.raises(UpstreamTimeout):
            await ask(proxy, Client())


# -- when the client fails


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\nhalf"], ids=["before", "after"])
async def test_g52_a_client_that_leaves_cancels_the_call(answer: bytes) -> None:
    client = Client()
    async with proxying(held(answer), keep_alive=0.02) as (proxy, upstream):
        call = asyncio.create_task(ask(proxy, client))
        await until(lambda: len(client.sent) == 2 if answer else upstream.requests)
        client.left.set()
        await call
        await until(lambda: upstream.wires[0].left)
        assert len(client.sent) == (2 if answer else 0)


async def test_g52_a_client_that_leaves_during_its_upload_cancels_the_call() -> None:
    async with proxying(held(b"")) as (proxy, upstream):

        class Leaving(Client):
            async def receive(self) -> Message:
                if self.given == 1:
                    return {"type": "http.disconnect"}
                return await super().receive()

        headers = [(b"content-length", b"6")]
        client = await ask(proxy, Leaving("POST", headers=headers, parts=[b"one", b"two"]))
        assert client.sent == []
        await until(lambda: all(wire.left for wire in upstream.wires))


@pytest.mark.parametrize("failure", [OSError, asyncio.CancelledError])
async def test_a_server_that_fails_to_send_ends_the_call(failure: type[BaseException]) -> None:
    class Failing(Client):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if len(self.sent) == 2:
                raise failure

    async with proxying(held(b"HTTP/1.1 200 OK\r\n\r\nhalf")) as (proxy, upstream):
        with pytest.raises(failure):
            await ask(proxy, Failing())
        await until(lambda: upstream.wires[0].left)


async def test_g40_what_a_limit_raises_in_the_body_reaches_the_pipeline() -> None:
    async with proxying(held(b"")) as (proxy, upstream):
        client = Client("POST", headers=[(b"transfer-encoding", b"chunked")], parts=[b"a", TooLarge("too long")])
        with pytest.raises(TooLarge):
            await ask(proxy, client)
        assert client.sent == []
        await until(lambda: all(wire.left for wire in upstream.wires))


@pytest.mark.parametrize(
    ("headers", "parts"),
    [
        ([(b"content-length", b"9")], [b"short"]),
        ([(b"content-length", b"9")], [b"sh", b"ort"]),
        ([(b"content-length", b"2")], [b"long"]),
        ([(b"content-length", b"+5")], [b"bytes"]),
        ([(b"x", b"a\r\nb: c")], [b""]),
    ],
)
async def test_g3_a_request_that_cannot_be_forwarded_is_400(
    headers: list[tuple[bytes, bytes]], parts: list[bytes | Exception]
) -> None:
    async def patient(wire: Wire) -> None:
        await wire.gone()

    async with proxying(patient) as (proxy, _):
        client = await ask(proxy, Client("POST", headers=headers, parts=parts))
        assert (client.status, client.problem["code"]) == (400, "malformed")


async def test_a_websocket_is_refused() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with proxying(serve_well) as (proxy, upstream):
        await proxy({"type": "websocket"}, receive, send)
        assert [message["type"] for message in sent] == ["websocket.close"]
        assert upstream.wires == []


# -- behind a real server


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve `app` with uvicorn on a free port; the base URL."""
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            await until(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@contextlib.asynccontextmanager
async def raw(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf", b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"\r\n"),
    ],
)
async def test_g2_the_server_aborts_the_client_when_the_upstream_dies_in_mid_body(answer: bytes, left: bytes) -> None:
    """Neither by length nor by chunks can the client take the answer for a whole one."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(answer)
        await until(seen.is_set)

    seen = asyncio.Event()
    async with proxying(script) as (proxy, _), served(proxy) as url:
        async with raw(url) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readuntil(b"half")).startswith(b"HTTP/1.1 200 OK\r\n")
            seen.set()
            assert await reader.read() == left
        seen.set()
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(url)


async def test_g52_a_client_that_hangs_up_ends_the_call_to_the_upstream() -> None:
    async with proxying(held(b""), keep_alive=0.02) as (proxy, upstream), served(proxy) as url:
        async with raw(url) as (_, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: upstream.requests)
        await until(lambda: upstream.wires[0].left)


async def test_g52_a_client_that_hangs_up_in_mid_upload_ends_the_call_to_the_upstream() -> None:
    async with proxying(held(b"")) as (proxy, upstream), served(proxy) as url:
        async with raw(url) as (_, writer):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" + b"x" * 1000)
            await until(lambda: upstream.requests)
        await until(lambda: upstream.wires[0].left)


async def test_a_client_that_stops_reading_stops_the_upstream() -> None:
    """Nothing is buffered whole: the upstream cannot send on, and learns when the client hangs up."""
    sent = 0

    async def endless(wire: Wire) -> None:
        nonlocal sent
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not wire.left:
            wire.writer.write(b"x" * 65536)
            blocked.set()
            await wire.writer.drain()
            blocked.clear()
            sent += 65536

    blocked = asyncio.Event()
    async with proxying(endless, keep_alive=0.02) as (proxy, upstream), served(proxy) as url:
        async with raw(url) as (reader, writer):
            writer.transport.pause_reading()
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: upstream.requests)
            pool: Pool = proxy._upstream  # type: ignore[assignment] # it is one
            await until(lambda: pool._open and not next(iter(pool._open))._reading)
            assert sent < 100_000_000
            assert reader.at_eof() is False
        await until(lambda: upstream.wires[0].left)


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with proxying(serve_well) as (proxy, upstream), served(proxy) as url, raw(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert upstream.requests[0].all("expect") == []


async def test_an_early_refusal_reaches_a_client_that_is_still_sending() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        wire.half_close()
        await wire.gone()

    async with proxying(script) as (proxy, _), served(proxy) as url, raw(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1000)
        assert (await reader.readuntil(b"\r\n\r\nno")).startswith(b"HTTP/1.1 413 ")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An upstream that says what it got, in the way that the path asks for."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    status = int(scope["path"].rsplit("/", 1)[1])
    said = b"%b %b %b" % (scope["method"].encode(), scope["query_string"], body)
    headers = [(b"x-one", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
    if status not in (204, 304) and scope["path"].startswith("/length"):
        headers.append((b"content-length", b"%d" % len(said)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if status in (204, 304):
        said = b""
    await send({"type": "http.response.body", "body": said[:5], "more_body": True})
    await send({"type": "http.response.body", "body": said[5:]})


@pytest.mark.parametrize("path", ["/length/200", "/chunks/200", "/length/404", "/chunks/204", "/chunks/304"])
async def test_g91_a_client_sees_the_same_with_and_without_the_proxy(path: str) -> None:
    async with served(echo) as direct:
        pool = Pool(direct)
        async with served(Proxy(pool, service="echo")) as through, httpx.AsyncClient(trust_env=False) as client:
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                content = b"x" * 200_000 if method in ("POST", "PUT", "PATCH") else None
                seen = []
                for url in (direct, through, through):
                    answer = await client.request(method, f"{url}{path}?q=%20", content=content)
                    fields = [field for field in answer.headers.raw if field[0].lower() != b"date"]
                    seen.append((answer.status_code, fields, answer.content))
                assert seen[0] == seen[1] == seen[2]
            assert pool.taken == 1
        await pool.aclose()
