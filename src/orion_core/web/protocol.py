"""The server's side of one connection: uvicorn's httptools protocol, stricter, with limits of time, and with problem
documents for what no application gets to see.

It overrides private behaviour of uvicorn, whose range is pinned for it; `tests/web/test_protocol.py` is the check.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
import secrets
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from orion_core.context import ANONYMOUS, Context, use
from orion_core.errors import Error, Malformed
from orion_core.web import access_log
from orion_core.web.access import STREAMS
from orion_core.web.asgi import PROBLEM, problem_document, problem_headers
from orion_core.web.edge import REQUEST_ID
from orion_core.web.framing import (
    ALLOW,
    HeadersTooLarge,
    Limits,
    MethodRefused,
    RequestTimeout,
    TargetTooLong,
    check_head,
)

LINGER: Final = 5.0
"""Seconds for which a refused client may go on sending while it reads why: an immediate end would reset the answer."""
PROGRESS: Final = 64 * 1024
"""Bytes of a streamed body for which the time of its request begins anew."""
_LONGEST_TICK: Final = 1.0
_INSTANCE: Final = re.compile(rb"[^\x21-\x7e]")

_IDLE, _HEAD, _BODY, _WHOLE, _DEAF, _REFUSED = range(6)


def protocol(limits: Limits) -> type[EdgeProtocol]:
    """The protocol with `limits`, as uvicorn takes it: a class, whose connections share one timer."""
    return type("LimitedProtocol", (EdgeProtocol,), {"limits": limits, "sweeper": Sweeper(limits)})


class EdgeProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection of a client.

    Times are compared by one sweep over all connections, so that a request costs no timer of its own.
    """

    limits: ClassVar[Limits] = Limits()
    sweeper: ClassVar[Sweeper]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = self.loop.time()
        self._state = _IDLE
        self._error: Error | None = None
        self._began = now  # of the request, or of waiting for the first one
        self._touched = now  # the last byte of a body
        self._moved = 0  # bytes of a streamed body since its time began
        self._fields = self._field_bytes = self._head_bytes = 0
        self._unsent = 0  # bytes that the client had not taken at the last sweep
        self._taken_at = self._unsent_since = now

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch the connection too."""
        super().connection_made(transport)
        self._ending = _Ending(transport.write, transport.is_closing, self._end)
        self.sweeper.watch(self.loop, self.connections)

    def data_received(self, data: bytes) -> None:
        """Parse, and answer what cannot be parsed with a problem document instead of a line of text."""
        if self._state in (_DEAF, _REFUSED):
            return
        self._unset_keepalive_if_required()
        if self._state == _IDLE:
            self._began = self.loop.time()
            self._state, self._head_bytes = _HEAD, 0
            # Nothing of the request before may stand in the answer to this one.
            self.url, self.headers = b"", []
        if self._state == _HEAD:
            # A field whose line does not end is kept by the parser, whatever its length.
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._error is not None:
                self._refuse(self._error)
            elif self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._ignore_the_rest()
            return
        except httptools.HttpParserError as error:
            self._refuse(self._error or Malformed(f"the request is malformed: {_lowered(error)}"))
            return
        limits = self.limits
        if self._state == _HEAD and self._head_bytes > limits.target + limits.field_bytes + 64:
            self._refuse(_too_large(limits))

    def eof_received(self) -> None:
        """A refused client that has closed needs no more patience."""
        if self._state == _REFUSED:
            self.transport.close()

    def resume_writing(self) -> None:
        """The client has taken most of what was waiting for it."""
        super().resume_writing()
        self._taken_at = self._unsent_since = self.loop.time()
        self._unsent = 0

    # -- httptools

    def on_message_begin(self) -> None:
        """A request begins, perhaps right behind another."""
        super().on_message_begin()
        if self._state != _HEAD:
            self._began = self.loop.time()
            self._head_bytes = 0
        self._state = _HEAD
        self._fields = self._field_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        super().on_url(url)
        if len(self.url) > self.limits.target:
            self._fail(TargetTooLong(f"the request target has more than {self.limits.target} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; one of a trailer is counted and left out, for it would change a head already read."""
        self._fields += 1
        self._field_bytes += len(name) + len(value) + 4
        if self._fields > self.limits.fields or self._field_bytes > self.limits.field_bytes:
            self._fail(_too_large(self.limits))
        if self._state == _HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: it is refused, or its request begins."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.scope["method"] = method.decode("ascii")
        try:
            check_head(method, version, self.url, self.headers)
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before:
                self.cycle.transport = self._ending  # type: ignore[assignment]  # as much of one as it uses
        except Error as error:
            self._fail(error)
        self._state = _BODY
        self._touched = self.loop.time()
        self._moved = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        super().on_body(body)
        self._touched = self.loop.time()
        self._moved += len(body)
        if self._moved >= PROGRESS and self.scope.get(STREAMS):
            self._moved = 0
            self._began = self._touched

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        if self._state == _BODY:
            self._state = _IDLE if self.cycle is None or self.cycle.response_complete else _WHOLE
            self._began = self.loop.time()

    def on_response_complete(self) -> None:
        """The answer is whole: the next request may begin."""
        super().on_response_complete()
        if self._state == _WHOLE and self.cycle.response_complete:
            self._state = _IDLE

    # -- for the sweep

    def check(self, now: float) -> None:
        """End what takes the client too long."""
        limits = self.limits
        if self._slow_reader(now):
            self.transport.abort()
        elif self._state == _REFUSED:
            if now - self._began >= LINGER:
                self.transport.abort()
        elif self._state == _IDLE:
            # Between two requests uvicorn's own timer runs; before the first one there is none.
            if self.timeout_keep_alive_task is None and now - self._began >= limits.header_timeout:
                self.transport.close()
        elif self._state == _HEAD:
            if now - self._began >= limits.header_timeout:
                self._refuse(
                    RequestTimeout(f"the head of the request was not whole within {limits.header_timeout:g} s")
                )
        elif self._state == _BODY:
            self._check_body(now)

    def _check_body(self, now: float) -> None:
        limits, cycle = self.limits, self.cycle
        if self.flow.read_paused or (cycle is not None and cycle.waiting_for_100_continue):
            # The application does not ask for more: it is not the client who is slow.
            self._touched = now
        elif now - self._touched >= limits.body_timeout:
            self._refuse(RequestTimeout(f"no byte of the body came for {limits.body_timeout:g} s"))
        elif now - self._began >= limits.request_timeout:
            self._refuse(RequestTimeout(f"the request was not whole within {limits.request_timeout:g} s"))

    def _slow_reader(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        before, self._unsent = self._unsent, unsent
        if not unsent or not before:
            self._taken_at = self._unsent_since = now
            return False
        if unsent < before:
            self._taken_at = now
        return (
            now - self._taken_at >= self.limits.body_timeout or now - self._unsent_since >= self.limits.request_timeout
        )

    # -- refusing

    def _fail(self, error: Error) -> None:
        # The parser wraps what a callback raises, so it is kept.
        self._error = error
        raise error

    def _refuse(self, error: Error) -> None:
        """Answer `error` and close, unless an answer is already on its way."""
        cycle, state = self.cycle, self._state
        answering = cycle is not None and not cycle.response_complete
        if self.pipeline or (answering and state != _BODY):
            # An earlier request has its answer first; a client that pipelines gets none for this one.
            self.pipeline.clear()
            self._ignore_the_rest()
            return
        if state == _BODY and (not answering or cycle.response_started):
            # What the client would read now it would take for the answer to its next request, or for part of this one.
            self.transport.abort()
            return
        self._state, self._began = _REFUSED, self.loop.time()
        if answering:
            # The application learns that its client is gone; what it still says is not sent.
            self.scope[access_log.REFUSED] = error.status  # type: ignore[literal-required]
            cycle.disconnected = True
            cycle.message_event.set()
            self.flow.resume_writing()
        self._answer(error, logged=state == _BODY)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _end(self) -> None:
        """Close after an answer: gently while its request is still coming, or the client might never read it."""
        if self._state != _BODY or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._state, self._began = _REFUSED, self.loop.time()
        self.flow.resume_reading()
        self.transport.write_eof()

    def _ignore_the_rest(self) -> None:
        """Finish the answer under way, close then, and read nothing more."""
        self._state = _DEAF
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()

    def _answer(self, error: Error, *, logged: bool) -> None:
        path = _INSTANCE.sub(b"?", getattr(self, "url", b"").partition(b"?")[0])[:256].decode("ascii")
        context = Context(
            actor=ANONYMOUS, correlation_id=self._request_id(), client_ip=self.client[0] if self.client else ""
        )
        with use(context):
            body = json.dumps(problem_document(error, path)).encode()
            if not logged:
                method = (self.scope or {}).get("method", "")
                access_log.write({"method": method, "path": path}, context, error.status, len(body), 0.0)
        headers = {
            "content-type": PROBLEM,
            "content-length": str(len(body)),
            **problem_headers(error),
            "cache-control": "no-store",
            "connection": "close",
            "x-request-id": context.correlation_id,
        }
        if isinstance(error, MethodRefused):
            headers["allow"] = ALLOW
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        head = b"".join(b"%b: %b\r\n" % line for line in [*self.server_state.default_headers, *lines])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[error.status], head, body))

    def _request_id(self) -> str:
        given = next((value for name, value in self.headers or () if name == b"x-request-id"), b"").decode("latin-1")
        return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


class _Ending:
    """What a request sees of its connection's transport; closing is the protocol's business."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(
        self, write: Callable[[bytes], None], is_closing: Callable[[], bool], close: Callable[[], None]
    ) -> None:
        self.write = write
        self.is_closing = is_closing
        self.close = close


class Sweeper:
    """One timer for all connections of a server; it stops while there are none."""

    def __init__(self, limits: Limits) -> None:
        shortest = min(limits.header_timeout, limits.body_timeout, limits.request_timeout)
        self._tick = min(_LONGEST_TICK, shortest / 4)
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, loop: asyncio.AbstractEventLoop, connections: Collection[Any]) -> None:
        """Sweep over `connections` for as long as there are any."""
        if self._timer is None:
            # An empty context: a timer must not keep the context of the request that happened to start it.
            self._timer = loop.call_later(self._tick, self._sweep, loop, connections, context=contextvars.Context())

    def _sweep(self, loop: asyncio.AbstractEventLoop, connections: Collection[Any]) -> None:
        self._timer = None
        now = loop.time()
        for connection in list(connections):
            if isinstance(connection, EdgeProtocol):
                connection.check(now)
        if connections:
            self.watch(loop, connections)


def _lowered(error: BaseException) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


def _too_large(limits: Limits) -> HeadersTooLarge:
    return HeadersTooLarge(f"the head has more than {limits.fields} fields or {limits.field_bytes} bytes of them")
