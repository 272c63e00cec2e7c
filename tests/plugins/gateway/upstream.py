"""A raw TCP upstream that follows a script, byte by byte, so that a test can break HTTP wherever it likes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import attrs


@attrs.frozen
class Request:
    """The head of a request as it came over the wire."""

    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    raw: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def __getitem__(self, name: str) -> str:
        [value] = self.all(name)
        return value


class Wire:
    """The upstream's end of one connection; `number` counts connections from 0."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []

    async def head(self) -> Request:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = first.split(" ")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        request = Request(method, target, version, fields, raw)
        self.requests.append(request)
        return request

    async def body(self) -> bytes:
        """The body of the last request, by its framing."""
        request = self.requests[-1]
        if request.all("transfer-encoding"):
            parts = []
            while part := await self.chunk():
                parts.append(part)
            body = b"".join(parts)
        else:
            body = await self.reader.readexactly(int((request.all("content-length") or ["0"])[0]))
        self.bodies.append(body)
        return body

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        part = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return part

    @property
    def waiting(self) -> bytes:
        """What has arrived and was not read: more than one request at a time would show here."""
        return bytes(self.reader._buffer)

    @property
    def left(self) -> bool:
        """Whether the other side has closed."""
        return bool(self.reader._eof) or self.reader.exception() is not None

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok") -> None:
        """Read one request with its body and answer it well."""
        await self.head()
        await self.body()
        await self.send(ok(body))

    def half_close(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


def ok(body: bytes = b"ok", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (extra, len(body), body)


Script = Callable[[Wire], Awaitable[None]]


class Upstream:
    """Serves every connection with `script`, on a free port of the loopback address, until the block ends.

    A script that returns has its connection closed. What went wrong in a script is raised at the end of the block.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.wires: list[Wire] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if error is None:
            for end in ends:
                if isinstance(end, Exception):
                    raise end

    @property
    def requests(self) -> list[Request]:
        return [request for wire in self.wires for request in wire.requests]

    @property
    def bodies(self) -> list[bytes]:
        """The bodies that were read to their ends."""
        return [body for wire in self.wires for body in wire.bodies]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(len(self.wires), reader, writer)
        self.wires.append(wire)
        self._tasks.append(asyncio.get_running_loop().create_task(self._serve(wire)))

    async def _serve(self, wire: Wire) -> None:
        try:
            await self._script(wire)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side closed, as it may
        finally:
            wire.writer.close()
            try:
                await asyncio.wait_for(wire.writer.wait_closed(), 1)
            except (OSError, TimeoutError):
                wire.writer.transport.abort()


async def serve_well(wire: Wire) -> None:
    """Answer every request on the connection, as a good upstream does."""
    while True:
        await wire.answer()


def once(data: bytes) -> Script:
    """Read a request, answer with `data`, close."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.body()
        await wire.send(data)

    return script


def held(data: bytes) -> Script:
    """Read a request, answer with `data`, and keep the connection open."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.body()
        await wire.send(data)
        await wire.gone()

    return script


async def until(condition: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait until `condition` holds, for `within` seconds at most."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, none with an event
            await asyncio.sleep(0.002)
