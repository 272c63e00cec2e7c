"""HTTP by hand: an application behind the server's own protocol, and bytes sent to it as they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import uvicorn

from orion_core.web.framing import Limits
from orion_core.web.protocol import protocol

PATIENCE = 30.0
"""Seconds after which a test gives up; ample, since machines that test are busy."""


@attrs.frozen
class Answer:
    """One response as it came over the wire; `rest` is what followed its body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    rest: bytes

    def __getitem__(self, name: str) -> str:
        [value] = [value for key, value in self.headers if key == name]
        return value

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document, checked for what each has."""
        assert self["content-type"] == "application/problem+json", self
        document: dict[str, Any] = json.loads(self.body)
        assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= set(document)
        assert document["status"] == self.status
        assert document["request_id"] == self["x-request-id"]
        return document


def parse(raw: bytes, *, bodyless: bool = False) -> Answer:
    """The first response in `raw`."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1.1 "), raw[:200]
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = 0 if bodyless else int(dict(fields).get("content-length", "0"))
    return Answer(int(first.split(" ")[1]), fields, rest[:length], rest[length:])


@attrs.define
class Line:
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Everything until the server closes; what it does with a reset counts as closing."""
        parts = []
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while part := await self.reader.read(65536):
                    parts.append(part)
        return b"".join(parts)

    async def answer(self) -> Answer:
        """The next response, which must have a length; the connection stays open."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(dict(parse(head).headers).get("content-length", "0"))
            return parse(head + await self.reader.readexactly(length))


@contextlib.asynccontextmanager
async def line(port: int) -> AsyncIterator[Line]:
    """A connection to the server at `port`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def exchange(port: int, request: bytes) -> bytes:
    """Send `request` and return all that comes until the server closes."""
    async with line(port) as client:
        await client.send(request)
        return await client.rest()


@attrs.define
class LoopClock:
    """The clock of the running event loop, which a test may move forward; whatever is due then runs."""

    offset: float = 0.0

    async def advance(self, seconds: float) -> None:
        self.offset += seconds
        for _ in range(10):
            await asyncio.sleep(0)


def moved_by_hand() -> LoopClock:
    """Let the test move the clock of the loop; it is never moved back, for then what is due would come late."""
    loop, clock = asyncio.get_running_loop(), LoopClock()
    real = loop.time
    loop.time = lambda: real() + clock.offset  # type: ignore[method-assign]
    return clock


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, none with an event
            await asyncio.sleep(0.002)


@attrs.frozen
class Served:
    """A server: its port, and its ends of the connections."""

    port: int
    server: uvicorn.Server

    @property
    def connections(self) -> list[Any]:
        return list(self.server.server_state.connections)


@contextlib.asynccontextmanager
async def serving(app: Callable[..., Awaitable[None]], limits: Limits | None = None) -> AsyncIterator[int]:
    """`app` behind the protocol with `limits`; gives the port."""
    async with serve(app, limits) as served:
        yield served.port


@contextlib.asynccontextmanager
async def serve(app: Callable[..., Awaitable[None]], limits: Limits | None = None) -> AsyncIterator[Served]:
    """`app` behind the protocol with `limits`, on a free port."""
    config = uvicorn.Config(
        app,
        http=protocol(limits or Limits()),
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        task = asyncio.create_task(server._serve(sockets=[bound]))
        try:
            async with asyncio.timeout(PATIENCE):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.002)
            yield Served(bound.getsockname()[1], server)
        finally:
            server.should_exit = True
            await task
