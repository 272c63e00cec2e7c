"""One request's answer on its way from a connection to its reader."""

from __future__ import annotations

import asyncio
from typing import Protocol

from orion_plugins.gateway.client import ClientGone, Headers


class Flow(Protocol):
    """What an exchange asks of its connection."""

    def resume(self) -> None:
        """Read on: there is room again."""

    def unhurried(self) -> None:
        """Forget the deadline of the exchange."""

    def fail(self, error: BaseException) -> None:
        """Give up the exchange with `error` and close the connection."""


class Exchange:
    """The `Response` of one request on one connection, and the buffer between them.

    The connection calls `begin`, `feed`, then `finish` or `fail`. It lets go of a finished exchange at once, so that
    it can serve the next request while the last parts are still being read here.
    """

    __slots__ = (
        "_error",
        "_flow",
        "_loop",
        "_parts",
        "_waiter",
        "buffered",
        "complete",
        "headers",
        "retries",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, flow: Flow) -> None:
        self.status = 0
        self.headers: Headers = []
        self.complete = False
        self.buffered = 0
        self.retries = 0
        self._loop = loop
        self._flow: Flow | None = flow
        self._parts: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether the whole body has arrived and been read."""
        return self.complete and not self._parts

    async def head(self) -> None:
        """Wait for the final status and headers; raises what the exchange failed with."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """All bytes that have arrived, waiting for some if there are none; empty at the end."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self.complete:
                return b""
            await self._wait()
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.buffered = 0
        if self._flow is not None:
            self._flow.resume()
        return data

    def abort(self) -> None:
        """Give up the rest and close the connection, unless the answer is already whole."""
        if self._flow is not None:
            self._flow.fail(ClientGone("the answer is no longer wanted"))

    def unhurried(self) -> None:
        """Forget the deadline: from here on only the upstream's silence counts."""
        if self._flow is not None:
            self._flow.unhurried()

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The final head has arrived."""
        self.headers = headers
        self.status = status
        self._wake()

    def feed(self, data: bytes) -> None:
        """A part of the body has arrived."""
        self._parts.append(data)
        self.buffered += len(data)
        self._wake()

    def finish(self) -> None:
        """The answer is whole."""
        self.complete = True
        self._flow = None
        self._wake()

    def fail(self, error: BaseException) -> None:
        """The rest will never come."""
        self._error = error
        self._flow = None
        self._wake()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
