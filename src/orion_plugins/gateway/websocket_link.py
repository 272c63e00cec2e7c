"""One WebSocket to an upstream (RFC 6455): an asyncio protocol around the sans-I/O client of `websockets`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Response as Handshake
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from orion_plugins.gateway.address import Address
from orion_plugins.gateway.client import Headers, UpstreamBroken, UpstreamUnanswered
from orion_plugins.gateway.connection import HIGH_WATER
from orion_plugins.gateway.head import request_head

GOING_AWAY: Final = 1001
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
TOO_BIG: Final = 1009
_LINGER: Final = 5.0
"""Seconds that the other side gets to answer a close frame and to close the connection."""
# The library tells of every broken message; whoever relays has said so already.
_quiet = logging.getLogger("orion.gateway.websocket.library")
_quiet.setLevel(logging.CRITICAL)


class WebSocketLink(asyncio.Protocol):
    """Sends the handshake, then whole messages either way, without compression.

    Reading stops while more than 64 KiB of messages wait to be received, and `send` waits while the upstream does not
    read, so that neither side is buffered for the other. A ping goes out every `beat` seconds; an upstream that sends
    nothing for two of them is given up. `ended` is told once, when the connection is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        target: bytes,
        headers: Headers,
        *,
        subprotocols: Sequence[str],
        max_message: int,
        beat: float,
        ended: Callable[[WebSocketLink], None],
    ) -> None:
        self.closed = False
        self._loop = loop
        self._beat = beat
        self._ended = ended
        # The address in here is not used: the request is written by our own checks.
        uri = WebSocketURI(address.tls is not None, address.host, address.port, "/", "")
        offered = [Subprotocol(each) for each in subprotocols] or None
        self._ws = ClientProtocol(uri, subprotocols=offered, max_size=max_message, logger=_quiet)
        own = (
            b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: %b\r\n"
            % self._ws.key.encode("ascii")
        )
        kept = list(headers)
        if subprotocols:
            kept.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode("latin-1")))
        self._request = request_head(address, "GET", target, kept, own)
        self._handshake: asyncio.Future[Handshake] = loop.create_future()
        self._messages: deque[str | bytes] = deque()
        self._waiting = 0
        self._parts: list[bytes] = []
        self._text = False
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = loop.create_future()
        self._finished = False
        self._writable = True
        self._reading = True
        self._heard = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    async def handshake(self) -> Handshake:
        """The upstream's answer, whatever its status; raises `UpstreamBroken` if there was none."""
        return await self._handshake

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the upstream chose."""
        return self._ws.subprotocol

    async def receive(self) -> str | bytes | None:
        """The next message, None when no more will come."""
        while not self._messages:
            if self._finished:
                return None
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._messages.popleft()
        self._waiting -= len(message)
        if not self._reading and self._waiting <= HIGH_WATER and not self._transport.is_closing():
            self._reading = True
            self._heard = self._loop.time()
            self._transport.resume_reading()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send one message; one that comes after the end is dropped."""
        try:
            if isinstance(message, str):
                self._ws.send_text(message.encode())
            else:
                self._ws.send_binary(message)
        except (InvalidState, ConnectionClosed):
            return
        self._flush()
        if not self._writable and not self.closed:
            self._room = self._loop.create_future()
            try:
                await self._room
            finally:
                self._room = None

    @property
    def close_code(self) -> int:
        """Why it ended: the upstream's close code, 1005 if it gave none, 1006 if it ended without a close frame; or
        ours, if the upstream sent more than is allowed or the gateway is stopping."""
        ws = self._ws
        if ws.close_rcvd is not None:
            return int(ws.close_rcvd.code)
        if ws.close_sent is not None and ws.close_sent.code in (TOO_BIG, GOING_AWAY):
            return int(ws.close_sent.code)
        return ABNORMAL

    @property
    def close_reason(self) -> str:
        """The upstream's own words."""
        return self._ws.close_rcvd.reason if self._ws.close_rcvd is not None else ""

    async def close(self, code: int | None, reason: str = "") -> None:
        """Close with `code`, or with a frame without one, and wait until the connection is closed; what still comes is
        dropped."""
        try:
            self._ws.send_close(code, reason)
        except InvalidState:
            pass  # not open yet, or the other side was first
        else:
            self._flush()
        self._messages.clear()
        self._waiting = 0
        self._finish()
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
        await asyncio.wait([self._gone], timeout=_LINGER)
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        if not self.closed:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._ws.receive_data(data)
        self._take()

    def eof_received(self) -> None:
        self._ws.receive_eof()
        self._take()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._handshake.done():
            self._handshake.set_exception(UpstreamUnanswered("the upstream closed the connection without an answer"))
            self._handshake.exception()  # nobody may be waiting any more
        self._finish()
        self.resume_writing()
        if not self._gone.done():
            self._gone.set_result(None)
        self._ended(self)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # -- inside

    def _take(self) -> None:
        for event in self._ws.events_received():
            if isinstance(event, Handshake):
                self._answered(event)
            elif isinstance(event, Frame):
                self._frame(event)
        if self._ws.handshake_exc is not None and not self._handshake.done():
            self._handshake.set_exception(UpstreamBroken("the upstream broke the protocol of the handshake"))
        self._flush()
        if self._ws.parser_exc is not None or self._ws.close_rcvd is not None:
            self._finish()
        if self._ws.parser_exc is not None:
            self._transport.close()
        elif self._waiting > HIGH_WATER and self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _answered(self, response: Handshake) -> None:
        if self._handshake.done():
            return
        if response.status_code == 101 and self._ws.handshake_exc is not None:
            self._handshake.set_exception(UpstreamBroken("the upstream switched to something else than a WebSocket"))
        else:
            self._handshake.set_result(response)
            if response.status_code == 101:
                self._arm()

    def _frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            self._parts.append(bytes(frame.data))
            if frame.fin:
                self._message(b"".join(self._parts))
                self._parts.clear()

    def _message(self, data: bytes) -> None:
        if self._finished:
            return
        try:
            message: str | bytes = data.decode() if self._text else data
        except UnicodeDecodeError:
            self._ws.fail(1007, "text that is not UTF-8")
            self._finish()
            self._flush()
            self._transport.close()
            return
        self._messages.append(message)
        self._waiting += len(message)
        self._wake()

    def _flush(self) -> None:
        for data in self._ws.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
            else:
                self._transport.close()

    def _finish(self) -> None:
        self._finished = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _arm(self) -> None:
        self._timer = self._loop.call_later(self._beat, self._pulse)

    def _pulse(self) -> None:
        if self._reading and self._loop.time() - self._heard >= 2 * self._beat:
            self.abort()
            return
        try:
            self._ws.send_ping(b"")
        except InvalidState:
            return  # closing: whoever closes has a limit of his own
        self._flush()
        self._arm()
