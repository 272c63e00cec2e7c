"""A loopback TCP proxy that misbehaves on request, to put between a platform and its database, cache or broker.

::

    async with FaultProxy("127.0.0.1", 6379) as proxy:
        cache = await RedisCache.open(through(url, proxy))
        await proxy.refuse()   # the server is down
        await proxy.heal()     # and back, on the same port
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import attrs

_PENDING_LIMIT = 256 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_HOST = "127.0.0.1"


class FaultProxy:
    """Forwards connections on a loopback port to `target_host`:`target_port`, until told to fail.

    `refuse`, `stall`, `delay` and `heal` each replace the state before; `cut` leaves it as it is. The port stays the
    same, and stays taken, while connections are refused. Each method returns when its effect is there. Memory is
    bounded: a slow reader slows its writer. Leaving the context resets what is open and leaves nothing running.

    A client that goes away during a stall is noticed when the stall ends. Faults come from one event loop; clients
    may live in any process.
    """

    def __init__(self, target_host: str, target_port: int, *, port: int = 0) -> None:
        self._target = (target_host, target_port)
        self._port = port
        self._server: asyncio.Server | None = None
        self._listener: socket.socket | None = None
        self._state = _State()

    @property
    def port(self) -> int:
        """The loopback port on which clients connect."""
        return self._port

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return len(self._state.links)

    async def __aenter__(self) -> Self:
        self._bind()
        await self.heal()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        self._release()

    async def refuse(self) -> None:
        """Stop listening and reset every connection; new connections are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
            # Held without listening, the port refuses, and nobody else can get it meanwhile.
            self._bind()
        await self._reset_links()

    async def cut(self) -> None:
        """Reset every present connection and go on accepting new ones."""
        self._reset_backlog()
        await self._reset_links()

    async def stall(self) -> None:
        """Accept, read nothing, forward nothing and keep everything open."""
        await self._listen()
        self._state.flowing.clear()
        self._regulate()

    async def delay(self, seconds: float) -> None:
        """Forward every piece of data `seconds` later, in both directions and in order."""
        await self._listen()
        self._state.delay = seconds
        self._state.flowing.set()
        self._regulate()

    async def heal(self) -> None:
        """Forward normally again, new connections and those that survived."""
        await self.delay(0)

    def _bind(self) -> None:
        self._release()
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((_HOST, self._port))
        except BaseException:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        self._listener = listener

    def _release(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _listen(self) -> None:
        if self._listener is None:
            raise RuntimeError("the proxy is not open: enter it with `async with` first")
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._accepted, sock=self._listener, backlog=512)

    def _accepted(self) -> asyncio.Protocol:
        link = _Link(self._state, self._target)
        self._state.links.add(link)
        return link.client

    def _reset_backlog(self) -> None:
        # Connections that the kernel has made and the event loop has not seen are present, too.
        while self._server is not None and self._listener is not None:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.close()

    async def _reset_links(self) -> None:
        # One turn of the loop, in which a connection just accepted gets its link.
        await asyncio.sleep(0)
        links = list(self._state.links)
        for link in links:
            link.reset()
        for link in links:
            await link.gone()

    def _regulate(self) -> None:
        for link in list(self._state.links):
            link.regulate()


@attrs.define
class _State:
    """What a proxy does now, and to whom."""

    flowing: asyncio.Event = attrs.Factory(asyncio.Event)
    delay: float = 0
    links: set[_Link] = attrs.Factory(set)


class _Link:
    """One client's connection, and the one to the server made for it."""

    def __init__(self, state: _State, target: tuple[str, int]) -> None:
        self._state = state
        self._target = target
        self.client = _End(self)
        self._server = _End(self)
        self._was_reset = False
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def regulate(self) -> None:
        """Forward what is due and read where reading is wanted."""
        for end, other in ((self.client, self._server), (self._server, self.client)):
            self._forward(end, other)
        for end, other in ((self.client, self._server), (self._server, self.client)):
            self._read_or_wait(end, other)
        if self.client.finished and self._server.finished:
            for end in (self.client, self._server):
                if end.transport is not None:
                    end.transport.close()

    def reset(self) -> None:
        """Close both connections with a TCP reset."""
        self._was_reset = True
        if self._server.transport is None:
            self._connecting.cancel()
        for end in (self.client, self._server):
            end.reset()

    async def gone(self) -> None:
        """Wait until both connections are closed."""
        await asyncio.wait([self._connecting])
        await self.client.lost.wait()
        # Not every loop tells the protocol of a connection whose making was cancelled that it is gone.
        if self._server.transport is not None and not self._connecting.cancelled():
            await self._server.lost.wait()
        self._state.links.discard(self)

    def arrived(self, end: _End, data: bytes | None) -> None:
        """Take over a piece of data, or its end, and forward it when it is due."""
        due = asyncio.get_running_loop().time() + self._state.delay
        end.pending.append((due, data))
        end.size += len(data or b"")
        self.regulate()

    def made(self, end: _End) -> None:
        """One of the two connections is there."""
        if self._was_reset:
            end.reset()
        else:
            self.regulate()

    def lost(self, error: Exception | None) -> None:
        """One of the two connections is gone: a reset goes on to the other."""
        if error is not None:
            self.reset()
        ends = (self.client, self._server)
        if all(end.lost.is_set() or (end is self._server and end.transport is None) for end in ends):
            self._state.links.discard(self)

    async def _connect(self) -> None:
        await self._state.flowing.wait()
        host, port = self._target
        try:
            await asyncio.get_running_loop().create_connection(lambda: self._server, host, port)
        except OSError:
            self._was_reset = True
            self.client.reset()

    def _forward(self, end: _End, other: _End) -> None:
        loop = asyncio.get_running_loop()
        if end.timer is not None:
            end.timer.cancel()
            end.timer = None
        transport = other.transport
        if transport is None or transport.is_closing():
            return
        while end.pending and self._state.flowing.is_set():
            due, data = end.pending[0]
            if self._state.delay and due > loop.time():
                end.timer = loop.call_at(due, self.regulate)
                return
            end.pending.popleft()
            if data is None:
                end.finished = True
                transport.write_eof()
            else:
                end.size -= len(data)
                transport.write(data)

    def _read_or_wait(self, end: _End, other: _End) -> None:
        if end.transport is None or end.ended:
            return
        flowing = self._state.flowing.is_set()
        if flowing and other.transport is not None and not other.full and end.size < _PENDING_LIMIT:
            end.transport.resume_reading()
        else:
            end.transport.pause_reading()


class _End(asyncio.Protocol):
    """One connection of a link; `pending` came from here and goes to the other one."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()
        self.pending: deque[tuple[float, bytes | None]] = deque()
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None
        self.full = False
        self.ended = False
        self.finished = False

    def reset(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.pending.clear()
        if self.transport is not None and not self.lost.is_set():
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._link.made(self)

    def data_received(self, data: bytes) -> None:
        self._link.arrived(self, data)

    def eof_received(self) -> bool:
        self.ended = True
        self._link.arrived(self, None)
        return True

    def pause_writing(self) -> None:
        self.full = True
        self._link.regulate()

    def resume_writing(self) -> None:
        self.full = False
        self._link.regulate()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self._link.lost(exc)


def through(url: str, proxy: FaultProxy) -> str:
    """`url` with the host and port of `proxy` in place of the server's."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials}{at}{_HOST}:{proxy.port}").geturl()
