"""Several URLs of one upstream: they share its load, and one that is away or unwell is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, TypeAlias

from orion_plugins.gateway.client import Body, Gone, Headers, Response, Transport, UpstreamUnreachable

REST = 2.0
"""Seconds for which a replica that could not be reached is asked last."""
Balance: TypeAlias = Literal["round_robin", "least_busy"]


class Replicas:
    """A `Transport` to all of `transports`, which serve the same.

    They take turns or, with `least_busy`, the one with the fewest requests waiting for an answer is asked. A request
    goes on to the next replica only when nothing of it can have been sent, so that a POST arrives once (G51); when no
    replica can be reached, `UpstreamUnreachable` of the last one is raised. A replica that could not be reached is
    asked after the others for `rest` seconds, so that only few requests wait for it; so is one that closes the
    connection with its answer, which is how a replica tells that it is about to stop (RFC 9112, section 9.6). One that
    `set_healthy` calls unwell is asked after all others, until it is well again.
    """

    def __init__(
        self, transports: Sequence[Transport], *, balance: Balance = "round_robin", rest: float = REST
    ) -> None:
        if not transports:
            raise ValueError("replicas: give at least one")
        self._transports = tuple(transports)
        self._least_busy = balance == "least_busy"
        self._rest = rest
        self._rests_until = [0.0] * len(transports)
        self._unwell = [False] * len(transports)
        self._waiting = [0] * len(transports)
        self._turn = 0

    @property
    def healthy(self) -> tuple[bool, ...]:
        """Which replicas are well, in the order in which they were given."""
        return tuple(not unwell for unwell in self._unwell)

    def set_healthy(self, index: int, well: bool) -> None:
        """Whether the replica at `index` is to be asked before those that are unwell."""
        self._unwell[index] = not well

    def order(self) -> list[int]:
        """The replicas as the next request should try them."""
        count = len(self._transports)
        if count == 1:
            return [0]
        now = asyncio.get_running_loop().time()
        turns = [(self._turn + offset) % count for offset in range(count)]
        self._turn = (self._turn + 1) % count

        def rank(index: int) -> tuple[bool, bool, int]:
            busy = self._waiting[index] if self._least_busy else 0
            return self._unwell[index], self._rests_until[index] > now, busy

        return sorted(turns, key=rank)

    def away(self, index: int) -> None:
        """The replica at `index` could not be reached: let it rest."""
        self._rests_until[index] = asyncio.get_running_loop().time() + self._rest

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
    ) -> Response:
        """Send one request to the replica whose turn it is, or to the next that can be reached."""
        order = self.order()
        for index in order:
            self._waiting[index] += 1
            try:
                response = await self._transports[index].send(
                    method, target, headers, body, length=length, gone=gone, deadline=deadline
                )
            except UpstreamUnreachable:
                if index == order[-1]:
                    raise
                self.away(index)
            else:
                if _closes(response.headers):
                    self.away(index)
                return response
            finally:
                self._waiting[index] -= 1
        raise AssertionError("there is always a last replica")


def _closes(headers: Headers) -> bool:
    return any(name == b"connection" and b"close" in value.lower() for name, value in headers)
