"""One HTTP/1.1 connection to an upstream (RFC 9112): an asyncio protocol on httptools' response parser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Coroutine
from typing import Any, Final, Protocol, cast

from httptools import HttpParserError, HttpResponseParser

from orion_plugins.gateway.client import (
    BodyMismatch,
    ClientGone,
    ClientSlow,
    Gone,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnanswered,
)
from orion_plugins.gateway.exchange import Exchange

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 200
HIGH_WATER: Final = 64 * 1024
PROGRESS: Final = 64 * 1024
"""Bytes of a body, either way, for which the time of an exchange begins anew: streams may take as long as they move."""
_STATUS_REFUSED: Final = 400


class Stale(UpstreamUnanswered):
    """A kept connection turned out to be dead before the first byte of the answer."""


class Owner(Protocol):
    """What a connection tells whoever keeps it."""

    def freed(self, connection: Connection) -> None:
        """The exchange is over and the connection may serve another."""

    def left(self, connection: Connection) -> None:
        """The connection will serve no more; its transport may still be closing. Told once."""

    def lost(self, connection: Connection) -> None:
        """The transport is closed."""

    def began(self, task: asyncio.Task[None]) -> None:
        """A task was started that ends soon after its exchange."""


class Connection(asyncio.Protocol):
    """Serves one exchange at a time: never pipelines, never reuses a connection whose state is in doubt.

    The next exchange may begin only when the last answer was framed by length or chunks, was whole, left no byte
    behind, allowed it, and the request before it was sent to its end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        self._loop = loop
        self._owner = owner
        self._parser = HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._attendant: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._served = 0
        self._left = False
        self._writable = True
        self._reading = True
        self._client_gone: Gone | None = None
        self._deadline: float | None = None
        self._allowance = 0.0  # seconds from the beginning to the deadline
        self._moved = 0  # bytes of bodies since the deadline was set
        self._started = 0.0
        self.touched = loop.time()
        self._reset()

    def _reset(self) -> None:
        self._bodyless = False  # the answer to HEAD
        self._sent = True  # the request has been written to its end
        self._received = False  # a byte of the answer has come
        self._headed = False  # its final head has come
        self._interim = False  # the head that has come is a 1xx
        self._done = False  # the answer is whole
        self._reusable = False
        self._chunked = False
        self._until_close = False
        self._surplus = False
        self._overhead = 0  # bytes since the last one of a body
        self._fields = 0
        self._field_bytes = 0
        self._headers: list[tuple[bytes, bytes]] = []

    # -- for the owner

    @property
    def usable(self) -> bool:
        """Whether another exchange may begin."""
        return not self._left and self._exchange is None and not self._transport.is_closing()

    @property
    def closed(self) -> bool:
        """Whether it will serve no more."""
        return self._left

    def start(
        self,
        request: bytes,
        body: AsyncIterable[bytes] | None,
        *,
        length: int | None,
        bodyless: bool,
        gone: Gone | None,
        deadline: float | None,
    ) -> Exchange:
        """Write `request`, then `body` as it comes, in a task; the answer goes to the exchange returned."""
        self._reset()
        self._bodyless = bodyless
        self._client_gone = gone
        self._deadline = deadline
        self._served += 1
        self._started = self.touched = self._loop.time()
        self._allowance = 0.0 if deadline is None else deadline - self._started
        self._moved = 0
        self._exchange = exchange = Exchange(self._loop, self)
        self._transport.write(request)
        if body is not None:
            self._sent = False
            self._attend(self._upload(exchange, body, length))
        return exchange

    def close(self) -> None:
        """Close an idle connection."""
        self._transport.close()
        self._leave()

    def check(self, now: float, idle_timeout: float) -> None:
        """Fail an exchange whose upstream is late, and begin to watch the client of one that takes its time."""
        if self._exchange is None:
            return
        waiting = self._reading and (self._sent or not self._writable)
        if self._deadline is not None and now >= self._deadline:
            late = not self._sent and self._writable  # for the body: that is no fault of the upstream
            passed = "the deadline of the request passed"
            self.fail(ClientSlow(f"{passed} before its body") if late else UpstreamTimeout(passed))
        elif waiting and now - self.touched >= idle_timeout:
            self.fail(UpstreamTimeout(f"the upstream was silent for {idle_timeout:g} s"))
        elif self._attendant is None and self._client_gone is not None and now > self._started:
            self._attend(self._watch(self._exchange, self._client_gone))

    # -- for the exchange

    def resume(self) -> None:
        """Read on: there is room again."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self.touched = self._loop.time()
            self._transport.resume_reading()

    def unhurried(self) -> None:
        """Forget the deadline of the exchange."""
        self._deadline = None

    def fail(self, error: BaseException) -> None:
        """Give up the exchange with `error` and close the connection at once."""
        exchange, self._exchange = self._exchange, None
        self._dismiss()
        if exchange is not None:
            exchange.fail(error)
        self._transport.abort()
        self._leave()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.close()  # nothing was asked: whatever this is, it must not become the next request's answer
            return
        self.touched = self._loop.time()
        self._received = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._surplus = True
            if not self._done:
                self.fail(UpstreamBroken(f"the upstream broke the protocol: {error.__context__ or error}"))
                return
        if self._done:
            self._finish()
        elif self._overhead > MAX_HEAD + len(data):
            self.fail(UpstreamBroken(f"the upstream sent more than {MAX_HEAD} bytes of head, chunk sizes or trailers"))

    def eof_received(self) -> None:
        if self._exchange is not None and self._headed and self._until_close:
            self._reusable = False
            self._finish()
        elif self._exchange is not None:
            self._break(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None:
            self._break(exc)
        self._leave()
        self.resume_writing()
        self._owner.lost(self)

    def pause_writing(self) -> None:
        self._writable = False
        self.touched = self._loop.time()

    def resume_writing(self) -> None:
        self._writable = True
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # -- httptools

    def on_message_begin(self) -> None:
        if self._done:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headed:
            return  # a trailer
        self._fields += 1
        self._field_bytes += len(name) + len(value)
        if self._fields > MAX_FIELDS or self._field_bytes > MAX_HEAD:
            raise UpstreamBroken(f"more than {MAX_FIELDS} header fields or {MAX_HEAD} bytes of them")
        self._headers.append((name.lower(), value.rstrip(b" \t")))  # the parser leaves white space at the end
        if name[0] in b"Tt" and name.lower() == b"transfer-encoding":
            # Another coding would reach the client as content, its name gone with the hop-by-hop fields. A tab is
            # not stripped here: the parser reads a body after "chunked<TAB>" until the connection closes.
            if self._chunked or value.rstrip(b" ").lower() != b"chunked":
                raise UpstreamBroken("its transfer coding is not chunked alone")
            self._chunked = True

    def on_headers_complete(self) -> None:
        if self._done:
            return
        status = self._parser.get_status_code()
        headers = self._headers
        if status < 200:
            if status == 101:
                raise UpstreamBroken("it switched protocols without being asked")
            self._interim = True
            self._headers = []
            self._chunked = False
            return
        if status > 599:
            raise UpstreamBroken(f"there is no status {status}")
        self._headed = True
        self._until_close = not (
            self._bodyless
            or self._chunked
            or status in (204, 304)
            or any(name == b"content-length" for name, _ in headers)
        )
        self._reusable = self._parser.should_keep_alive()
        assert self._exchange is not None  # data_received feeds the parser only with an exchange
        self._exchange.begin(status, headers)
        if status >= _STATUS_REFUSED and not self._sent:
            self._dismiss()  # refused: nobody there wants the rest of the body
        if self._bodyless:
            self._done = True

    def on_body(self, data: bytes) -> None:
        if self._done or self._exchange is None:
            self._surplus = True
            return
        self._overhead = 0
        self._exchange.feed(data)
        self._move(len(data))
        if self._exchange.buffered > HIGH_WATER and self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._done = True

    # -- inside

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None  # callers have just used it
        exchange.finish()
        self._dismiss()
        self._client_gone = None
        if self._bodyless:
            self._parser = HttpResponseParser(self)  # the old one still waits for a body
        if not self._sent:
            self._transport.abort()  # close() would wait for an upstream that may never read on
            self._leave()
        elif self._reusable and not self._surplus and not self._transport.is_closing():
            self.resume()
            self._owner.freed(self)
        else:
            self.close()

    def _break(self, cause: Exception | None) -> None:
        how = "reset" if isinstance(cause, ConnectionError) else "closed"
        if self._received:
            self.fail(UpstreamBroken(f"the upstream {how} the connection before its answer was whole"))
        elif self._served > 1:
            self.fail(Stale(f"the upstream {how} a kept connection"))
        else:
            self.fail(UpstreamUnanswered(f"the upstream {how} the connection without an answer"))

    def _move(self, count: int) -> None:
        self._moved += count
        if self._moved >= PROGRESS and self._deadline is not None:
            self._moved = 0
            self._deadline = self._loop.time() + self._allowance

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._owner.left(self)

    def _attend(self, work: Coroutine[Any, Any, None]) -> None:
        self._attendant = self._loop.create_task(work)
        self._owner.began(self._attendant)

    def _dismiss(self) -> None:
        if self._attendant is not None:
            self._attendant.cancel()
            self._attendant = None

    async def _upload(self, exchange: Exchange, body: AsyncIterable[bytes], length: int | None) -> None:
        try:
            await self._write_body(body, length)
        except Exception as error:
            self._give_up(exchange, error)
            return
        self._sent = True
        self.touched = self._loop.time()
        if self._client_gone is not None:
            await self._watch(exchange, self._client_gone)

    async def _watch(self, exchange: Exchange, gone: Gone) -> None:
        try:
            await gone()
        except Exception as error:
            self._give_up(exchange, error)
        else:
            self._give_up(exchange, ClientGone("the client left"))

    def _give_up(self, exchange: Exchange, error: Exception) -> None:
        if self._exchange is exchange:  # else a later request has the connection
            self._attendant = None  # the task that runs this must not cancel itself
            self.fail(error)

    async def _write_body(self, body: AsyncIterable[bytes], length: int | None) -> None:
        left = length
        async for part in body:
            if not part:
                continue
            if left is None:
                self._transport.write(b"%x\r\n%b\r\n" % (len(part), part))
            elif len(part) > left:
                raise BodyMismatch(f"the request body is longer than its length of {length} bytes")
            else:
                left -= len(part)
                self._transport.write(part)
            if not self._writable:
                await self._drained()
            self._move(len(part))
        if left is None:
            self._transport.write(b"0\r\n\r\n")
        elif left:
            raise BodyMismatch(f"the request body ended {left} bytes before its length")

    async def _drained(self) -> None:
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None
