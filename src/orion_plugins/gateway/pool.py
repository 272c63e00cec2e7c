"""The gateway's own HTTP/1.1 client: a pool of kept connections to one upstream."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ssl
from collections import deque
from typing import Final

from orion_core.request_timeout import request_timeout
from orion_plugins.gateway.address import Address
from orion_plugins.gateway.client import (
    Body,
    Gone,
    Headers,
    PoolFull,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from orion_plugins.gateway.connection import Connection, Owner, Stale
from orion_plugins.gateway.exchange import Exchange
from orion_plugins.gateway.head import request_head

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})


class Pool(Owner):
    """A `Transport` to the upstream at `base_url`, over at most `limit` connections.

    `connect_timeout` is the longest wait for a connection: for a free place, and for opening one. `idle_timeout` is
    how long the upstream may be silent while it is its turn. `keep_alive` is how long an unused connection is kept;
    it should be shorter than the upstream keeps its own.

    A kept connection that dies before the first byte of the answer is replaced by a fresh one, once, when the method is
    idempotent (RFC 9110 section 9.2.2) and the body is in memory, so that the same bytes can be sent again. Nothing
    else is ever sent twice. Redirects are not followed, and nothing of a request but its target chooses the address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        limit: int = 100,
        connect_timeout: float = 5.0,
        idle_timeout: float = 60.0,
        keep_alive: float = 4.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = Address.parse(base_url, tls)
        if limit < 1:
            raise ValueError("upstream limit: allow at least 1 connection")
        self._limit = limit
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._keep_alive = keep_alive
        self._tick = max(0.005, min(0.25, idle_timeout / 4, keep_alive / 4))

        self._taken = 0  # places in use, by a connection or by an attempt to open one
        self._idle: deque[Connection] = deque()  # oldest first
        self._open: set[Connection] = set()
        self._closing: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None
        self._closed = False

    @property
    def taken(self) -> int:
        """How many places of `limit` are in use, idle connections included."""
        return self._taken

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    async def send(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        body: Body = b"",
        *,
        length: int | None = None,
        gone: Gone | None = None,
        deadline: float | None = None,
    ) -> Exchange:
        """Send one request and return its answer as soon as the head is there; see `Transport.send`."""
        request = self._head(method, target, headers, body, length, deadline)
        stream = None
        if isinstance(body, bytes):
            request += body
        else:
            stream = body
        fresh = False
        while True:
            connection = self._kept() if not fresh else None
            if connection is None:
                connection = await self._obtain(fresh, deadline)
            exchange = connection.start(
                request, stream, length=length, bodyless=method == "HEAD", gone=gone, deadline=deadline
            )
            try:
                await exchange.head()
            except Stale:  # never raised for a fresh connection
                if stream is not None or method not in _IDEMPOTENT:
                    raise
                fresh = True
            except BaseException:
                exchange.abort()
                raise
            else:
                return exchange

    async def aclose(self) -> None:
        """Close every connection, failing what is in flight, and wait until all are closed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(UpstreamUnreachable("the gateway is stopping"))
        for connection in list(self._open):
            connection.fail(UpstreamBroken("the gateway is stopping"))
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._taken or self._closing:
            self._emptied = asyncio.Event()
            await self._emptied.wait()

    # -- Owner

    def freed(self, connection: Connection) -> None:
        """Keep `connection`, or hand it to whoever waits longest."""
        if self._closed:
            connection.close()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def left(self, connection: Connection) -> None:
        """Give its place to another."""
        self._closing.add(connection)
        if connection not in self._open:
            return  # it never got as far as holding a place
        self._open.remove(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        self._give_place()

    def lost(self, connection: Connection) -> None:
        """Forget it."""
        self._closing.discard(connection)
        self._note_empty()

    def began(self, task: asyncio.Task[None]) -> None:
        """Remember `task` until it ends, so that closing can wait for it."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- inside

    def _head(
        self, method: str, target: bytes, headers: Headers, body: Body, length: int | None, deadline: float | None
    ) -> bytes:
        own = b""
        if not isinstance(body, bytes):
            own = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        elif body or method in _WITH_CONTENT:
            own = b"content-length: %d\r\n" % len(body)
        if deadline is not None:
            left = deadline - asyncio.get_running_loop().time()
            own += b"x-request-timeout: %b\r\n" % request_timeout(left).encode("ascii")
        return request_head(self.address, method, target, headers, own)

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()  # the youngest: the least likely to be dead
            if connection.usable:
                return connection
        return None

    async def _obtain(self, fresh: bool, deadline: float | None) -> Connection:
        while True:
            if self._closed:
                raise UpstreamUnreachable("the gateway is stopping")
            if fresh and self._taken >= self._limit and self._idle:
                self._idle[0].close()  # its place is free from here on
            if self._taken < self._limit:
                self._taken += 1
            else:
                connection = await self._wait_for_place(deadline)
                if connection is not None:
                    if connection.usable and not fresh:
                        return connection
                    connection.close()
                    continue
            return await self._connect(deadline)

    async def _wait_for_place(self, deadline: float | None) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with self._patience(deadline):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._return(waiter.result())
            else:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise PoolFull(f"all {self._limit} connections are in use") from None
            raise

    def _return(self, connection: Connection | None) -> None:
        if connection is None:
            self._give_place()
        elif connection.usable:
            self.freed(connection)

    async def _connect(self, deadline: float | None) -> Connection:
        """Open a connection in the place already taken."""
        loop = asyncio.get_running_loop()
        connection: Connection | None = None
        try:
            async with self._patience(deadline):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self), self.address.host, self.address.port, ssl=self.address.tls
                )
        except TimeoutError:
            if deadline is not None and loop.time() >= deadline:
                raise UpstreamTimeout("the deadline passed before there was a connection", sent=False) from None
            raise UpstreamUnreachable("no connection could be opened in time") from None
        except (OSError, ssl.SSLError) as error:
            raise UpstreamUnreachable(f"no connection could be opened: {type(error).__name__}") from error
        finally:
            if connection is None:
                self._give_place()
        if connection.closed:
            self._give_place()
            raise UpstreamUnreachable("the connection was closed at once")
        self._open.add(connection)
        if self._closed:
            connection.fail(UpstreamBroken("the gateway is stopping"))
            raise UpstreamUnreachable("the gateway is stopping")
        if self._timer is None:
            self._arm(loop)
        return connection

    def _patience(self, deadline: float | None) -> asyncio.Timeout:
        until = asyncio.get_running_loop().time() + self._connect_timeout
        return asyncio.timeout_at(until if deadline is None else min(until, deadline))

    def _give_place(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._taken -= 1
        self._note_empty()

    def _note_empty(self) -> None:
        if self._emptied is not None and not self._taken and not self._closing:
            self._emptied.set()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        # An empty context: a timer must not keep the context of the request that happened to start it.
        self._timer = loop.call_later(self._tick, self._sweep, loop, context=contextvars.Context())

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all connections: the hot path sets no timer and makes no task for a request without a body."""
        now = loop.time()
        while self._idle and now - self._idle[0].touched >= self._keep_alive:
            self._idle[0].close()
        for connection in list(self._open):
            connection.check(now, self._idle_timeout)
        self._timer = None
        if self._open:
            self._arm(loop)
