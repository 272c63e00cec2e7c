"""Keeps one connection to the broker up: opens it, notices its loss, opens the next."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

import attrs
from pika.connection import Parameters

from orion_core.adapters.rabbitmq.channel import ChannelClosed
from orion_core.adapters.rabbitmq.connection import Connection, TurnedAway, describe
from orion_core.ports.bus import Disconnected

_log = logging.getLogger("orion.bus")


@attrs.frozen
class Backoff:
    """Full jitter: the n-th wait is a random part of ``base * 2**n`` seconds, of `cap` at most.

    `near` is the cap while the broker cannot be reached at all: asking a closed port costs nobody anything, and what
    waits in the outboxes should leave soon after the broker is back.
    """

    base: float = 0.5
    cap: float = 30.0
    near: float = 3.0

    def delay(self, attempt: int, *, unreachable: bool = False) -> float:
        """Seconds to wait after the `attempt`-th failure in a row, counted from 0."""
        limit = min(self.cap, self.near if unreachable else self.cap, self.base * 2 ** min(attempt, 30))
        return random.uniform(0, limit)  # noqa: S311 - spreads load, no secret


class Supervisor:
    """A connection that comes back.

    `on_up` prepares every new connection before anybody else may use it; a connection it cannot prepare is dropped.
    """

    def __init__(
        self,
        name: str,
        hosts: Sequence[Parameters],
        backoff: Backoff,
        on_up: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.reason = "not connected yet"
        """Why there is no connection; empty while there is one."""
        self.connection: Connection | None = None
        """The open connection, prepared or not."""
        self._hosts = hosts
        self._backoff = backoff
        self._on_up = on_up
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        # Its own context: what a request left in the context variables must not reach later listeners.
        self._task = asyncio.create_task(self._run(), name=f"rabbitmq {name}", context=contextvars.Context())

    @property
    def up(self) -> Connection | None:
        """The connection, if it is open and prepared."""
        return self.connection if self._up.is_set() else None

    async def wait_up(self) -> Connection:
        """The next connection that is open and prepared."""
        while True:
            await self._up.wait()
            if self.connection is not None:
                return self.connection

    async def wait_tried(self) -> None:
        """Until the first attempt to connect has succeeded or failed."""
        await self._tried.wait()

    async def aclose(self, timeout: float) -> None:
        """Close the connection within `timeout` seconds and open no other."""
        self._task.cancel()
        # First the connection: what the task still waits for may never be answered.
        if self.connection is not None:
            await self.connection.close(timeout)
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self.connection is not None:
            await self.connection.close(timeout)
        self._down("closed")

    async def _run(self) -> None:
        attempt = 0
        while True:
            unreachable = False
            try:
                connection = await Connection.open(self._hosts[attempt % len(self._hosts)])
            except Disconnected as error:
                unreachable = not isinstance(error, TurnedAway)
                self._failed(attempt, str(error))
            else:
                self.connection = connection
                if await self._prepare(connection, attempt):
                    attempt = -1
                    lost = await asyncio.shield(connection.closed)
                    self._down(describe(lost))
                    _log.warning("the broker's connection for %s was lost: %s", self.name, self.reason)
                self.connection = None
            attempt += 1
            await asyncio.sleep(self._backoff.delay(attempt, unreachable=unreachable))

    async def _prepare(self, connection: Connection, attempt: int) -> bool:
        try:
            if self._on_up is not None:
                await self._on_up(connection)
        except Exception as error:  # whatever it is, the next connection may be luckier
            if not isinstance(error, (Disconnected, ChannelClosed)):
                _log.exception("preparing the broker's connection for %s failed", self.name)
            self._failed(attempt, str(error))
            await connection.close(1.0)
            return False
        if not connection.is_open:
            return False
        self.reason = ""
        self._up.set()
        self._tried.set()
        _log.info("connected to the broker for %s", self.name)
        return True

    def _failed(self, attempt: int, reason: str) -> None:
        self._down(reason)
        self._tried.set()
        # The first failure is news, the following ones are not.
        _log.log(logging.WARNING if attempt == 0 else logging.DEBUG, "%s: %s", self.name, reason)

    def _down(self, reason: str) -> None:
        self.reason = reason
        self._up.clear()
