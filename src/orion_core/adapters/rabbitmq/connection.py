"""One connection to the broker, from opening to loss.

pika connects, parses and keeps the heartbeat; it neither reconnects nor answers what was pending when it lost the
connection. `Connection` turns its callbacks into futures; `supervisor` opens the next one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.connection import Parameters
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from orion_core.adapters.rabbitmq.channel import Channel
from orion_core.ports.bus import Disconnected

_log = logging.getLogger("orion.bus")
_TURNED_AWAY = (AuthenticationError, ProbableAuthenticationError, ProbableAccessDeniedError, ConnectionClosedByBroker)


class TurnedAway(Disconnected):
    """The broker was there and did not let us in: wrong password, no such virtual host, no more connections."""


class Connection:
    """An open connection; `closed` is set to the reason once it is lost or closed."""

    def __init__(self, parameters: Parameters) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[BaseException] = loop.create_future()
        self.blocked = ""
        """Why the broker takes no publishes at the moment; empty when it does."""
        self.writable = asyncio.Event()
        """Set while publishes may be sent, and once the connection is closed."""
        self._opened: asyncio.Future[None] = loop.create_future()
        self._raw = AsyncioConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_close,
            on_close_callback=self._on_close,
            custom_ioloop=loop,
        )

    @classmethod
    async def open(cls, parameters: Parameters) -> Connection:
        """Connect and log in; raises `Disconnected` with the reason when that fails."""
        connection = cls(parameters)
        try:
            await first(connection._opened, connection.closed)
        except asyncio.CancelledError:
            await connection.close(1.0)
            raise
        if connection.closed.done():
            cause = root(connection.closed.result())
            kind = TurnedAway if isinstance(cause, _TURNED_AWAY) else Disconnected
            raise kind(f"no connection to the broker: {describe(cause)}")
        return connection

    @property
    def is_open(self) -> bool:
        """Whether it is neither lost nor closing."""
        return not self.closed.done() and bool(self._raw.is_open)

    async def channel(self) -> Channel:
        """Open a channel; raises `Disconnected` or `ChannelClosed`."""
        if not self.is_open:
            raise Disconnected("no connection to the broker")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_open(_: Any) -> None:
            if not opened.done():
                opened.set_result(None)

        try:
            channel = Channel(self._raw.channel(on_open_callback=on_open))
        except AMQPError as error:
            raise Disconnected(f"no channel to the broker: {error!r}") from error
        await first(opened, channel.closed)
        if channel.closed.done():
            raise channel.closed.result()
        return channel

    async def close(self, timeout: float) -> None:
        """Close politely, and after `timeout` seconds without an answer by dropping the socket."""
        if not self._opened.done():
            # There is nobody to be polite to yet, and pika 1.4 trips over its own feet when closed in a handshake.
            self.abort("closed while connecting")
        elif self.is_open:
            self._raw.close()
        await asyncio.wait({self.closed}, timeout=timeout)
        if not self.closed.done():
            self.abort("no answer to closing")
            await asyncio.wait({self.closed}, timeout=1.0)

    def abort(self, reason: str) -> None:
        """Drop the socket: all that is pending fails, and `closed` follows at once."""
        if not self.closed.done() and not self._raw.is_closed:
            # pika has no public way to end a connection whose peer does not answer.
            self._raw._terminate_stream(Disconnected(reason))  # noqa: SLF001 - see above

    # Callbacks of pika: they must not raise.

    def _on_open(self, _: Any) -> None:
        self._raw.add_on_connection_blocked_callback(self._on_blocked)
        self._raw.add_on_connection_unblocked_callback(self._on_unblocked)
        self.writable.set()
        if not self._opened.done():
            self._opened.set_result(None)

    def _on_close(self, _: Any, reason: BaseException) -> None:
        self.writable.set()
        if not self.closed.done():
            self.closed.set_result(reason)

    def _on_blocked(self, _: Any, frame: Any) -> None:
        self.blocked = str(getattr(frame.method, "reason", "") or "no reason given")
        self.writable.clear()
        _log.warning("the broker takes no publishes for now: %s", self.blocked)

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = ""
        self.writable.set()
        _log.info("the broker takes publishes again")


async def first(*futures: asyncio.Future[Any]) -> None:
    """Until one of `futures` is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def root(reason: BaseException) -> BaseException:
    """What was behind `reason`; pika's exceptions nest their cause in their arguments."""
    nested = [*getattr(reason, "exceptions", ()), *reason.args, getattr(reason, "exception", None)]
    cause = next((each for each in reversed(nested) if isinstance(each, BaseException)), None)
    return reason if cause is None else root(cause)


def describe(reason: BaseException) -> str:
    """`reason` in one line."""
    return str(root(reason)) or type(root(reason)).__name__
