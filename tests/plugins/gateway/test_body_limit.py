"""The size limit, over the wire: what the client is told, and what an upstream behind has seen by then."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
from litestar import Controller, get, post, put
from raw_http import Line, line, parse, serving
from upstream import Upstream, Wire, serve_well

from orion_core.errors import TooLarge
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_core.web import cookies, public, streaming
from orion_core.web.access import COOKIES, STREAMS
from orion_core.web.access_log import TEMPLATE
from orion_core.web.edge import edge
from orion_core.web.route_table import RouteTable
from orion_plugins.gateway.body_limit import body_limit
from orion_plugins.gateway.dispatch import dispatch
from orion_plugins.gateway.settings import GatewaySettings

LIMIT = 100_000
SMALL = 1_000


class Routes(Controller):
    """Routes of somebody else, known by what they declare."""

    path = "/api/v1/things"

    @post("/", opt=public())
    async def make(self) -> None: ...

    @put("/{thing:uuid}/picture", opt=public(), request_max_body_size=SMALL)
    async def picture(self) -> None: ...

    @put("/files/{key:path}", opt=public() | streaming(), request_max_body_size=None)
    async def file(self) -> None: ...

    @post("/refresh", opt=public() | cookies())
    async def refresh(self) -> None: ...

    @get("/refresh", opt=public())
    async def fresh(self) -> None: ...


TABLE = RouteTable.of([Routes], max_body=LIMIT)


@contextlib.asynccontextmanager
async def gateway(upstream: Upstream) -> AsyncIterator[int]:
    """The layers between a client and `upstream`; gives the port."""
    host = Host(Settings(peers={"things": (upstream.url,)}))
    app = body_limit(dispatch(nobody, host, GatewaySettings()), TABLE, otherwise=LIMIT)
    try:
        async with serving(edge(app, ())) as port:  # type: ignore[arg-type]
            yield port
    finally:
        for stop in host.stops:
            await stop()


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing is served here")


CLOCK = MovableClock()


@attrs.define
class Host:
    """What the dispatcher gets to know of its host."""

    settings: Settings
    served: tuple[str, ...] = ()
    prefixes: dict[str, str] = attrs.field(factory=lambda: {"/api/v1/things": "things"})
    route_table: RouteTable = TABLE
    stops: list[Any] = attrs.field(factory=list)

    @property
    def clock(self) -> MovableClock:
        return CLOCK

    def on_stop(self, callback: Any) -> None:
        self.stops.append(callback)

    def watch(self, name: str, check: Any) -> None:
        """Nobody asks for the health of this one."""


class Counting:
    """An upstream that reads what comes, and knows how much of a body that was."""

    def __init__(self) -> None:
        self.seen = 0

    async def __call__(self, wire: Wire) -> None:
        request = await wire.head()
        if request.all("transfer-encoding"):
            while part := await wire.chunk():
                self.seen += len(part)
        else:
            self.seen += len(await wire.body())
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def pour(client: Line, head: bytes, size: int, *, chunked: bool) -> None:
    """Send `head` and a body of `size` bytes; a server that closes meanwhile is the point of the test."""
    with contextlib.suppress(ConnectionError):
        await client.send(head)
        for _ in range(size // 1000):
            await client.send((b"3e8\r\n%b\r\n" if chunked else b"%b") % (b"x" * 1000))
        if chunked:
            await client.send(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("start", "limit"),
    [
        (b"POST /api/v1/things", LIMIT),
        (b"POST /api/v1/things/unknown", LIMIT),
        (b"PUT /api/v1/things/01a20342-f02a-7b8b-ad9c-38f0351d0b4d/picture", SMALL),
    ],
)
@pytest.mark.parametrize("chunked", [True, False])
async def test_beyond_the_limit_of_its_route_a_body_is_413_and_the_connection_closes(
    start: bytes, limit: int, chunked: bool
) -> None:
    """G40: for a chunked body too; the upstream has seen no more than the limit, and the client reads the answer."""
    size = 50 * limit
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    counting = Counting()
    async with Upstream(counting) as upstream, gateway(upstream) as port, line(port) as client:
        await pour(client, start + b" HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n", size, chunked=chunked)
        answer = parse(await client.rest())

    assert answer.status == 413
    assert f"at most {limit} bytes" in answer.problem["detail"]
    assert answer["connection"] == "close"
    assert counting.seen <= limit
    assert chunked or counting.seen == 0


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_as_large_as_the_limit_passes(chunked: bool) -> None:
    """G40."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % LIMIT
    counting = Counting()
    async with Upstream(counting) as upstream, gateway(upstream) as port, line(port) as client:
        head = b"POST /api/v1/things HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n"
        await pour(client, head, LIMIT, chunked=chunked)
        assert (await client.answer()).status == 200

    assert counting.seen == LIMIT


async def test_a_streaming_route_takes_any_length() -> None:
    """G40: limits are the route's."""
    counting = Counting()
    async with Upstream(counting) as upstream, gateway(upstream) as port, line(port) as client:
        head = b"PUT /api/v1/things/files/a/b.bin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await pour(client, head, 30 * LIMIT, chunked=True)
        assert (await client.answer()).status == 200

    assert counting.seen == 30 * LIMIT


async def test_a_length_that_is_too_small_for_the_body_does_not_help() -> None:
    """G40: servers that let a false Content-Length through exist, so bytes are counted all the same."""
    parts = iter([b"x" * 60_000] * 3)

    async def receive() -> Any:
        return {"type": "http.request", "body": next(parts), "more_body": True}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await receive()

    scope = {"type": "http", "method": "POST", "path": "/api/v1/things", "headers": [(b"content-length", b"10")]}
    with pytest.raises(TooLarge):
        await body_limit(app, TABLE, otherwise=LIMIT)(scope, receive, None)


async def test_cookies_reach_the_routes_that_declare_them_and_no_others() -> None:
    """G13: and Authorization reaches a peer, which verifies it itself."""
    secrets = b"Cookie: refresh=1\r\nAuthorization: Bearer t\r\n"
    async with Upstream(serve_well) as upstream, gateway(upstream) as port, line(port) as client:
        for start in (b"POST /api/v1/things/refresh", b"GET /api/v1/things/refresh", b"POST /api/v1/things"):
            await client.send(start + b" HTTP/1.1\r\nHost: x\r\n" + secrets + b"\r\n")
            assert (await client.answer()).status == 200

    assert [request.all("cookie") for request in upstream.requests] == [["refresh=1"], [], []]
    assert [request.all("authorization") for request in upstream.requests] == [["Bearer t"]] * 3


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("PUT", "/api/v1/things/files/a/b", {TEMPLATE: "/api/v1/things/files/{key}", STREAMS: True}),
        ("POST", "/api/v1/things/refresh", {TEMPLATE: "/api/v1/things/refresh", COOKIES: True}),
        ("HEAD", "/api/v1/things/refresh", {TEMPLATE: "/api/v1/things/refresh"}),
        ("PATCH", "/api/v1/things", {}),
        ("GET", "/api/v1/things/files", {}),
        ("GET", "/", {}),
    ],
)
async def test_layers_behind_learn_what_the_route_declares(method: str, path: str, told: dict[str, Any]) -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    await body_limit(app, TABLE, otherwise=LIMIT)(dict(scope), None, None)

    assert seen == {**scope, **told}
