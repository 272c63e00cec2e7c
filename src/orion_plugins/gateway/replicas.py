"""Several upstreams that serve the same: they take turns, and one that is away is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from orion_plugins.gateway.client import Body, Headers, Response, Transport, UpstreamUnreachable

REST = 2.0
"""Seconds for which a replica that could not be reached is asked last."""


class Replicas:
    """A `Transport` to all of `transports`, which serve the same.

    A request goes on to the next replica only when nothing of it can have been sent, so that a POST arrives once (G51);
    when no replica can be reached, `UpstreamUnreachable` of the last one is raised. A replica that could not be reached
    is asked after the others for `rest` seconds, so that only few requests wait for it.
    """

    def __init__(self, transports: Sequence[Transport], *, rest: float = REST) -> None:
        if not transports:
            raise ValueError("replicas: give at least one")
        self._transports = tuple(transports)
        self._rest = rest
        self._rests_until = [0.0] * len(transports)
        self._turn = 0

    async def send(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        body: Body = b"",
        *,
        length: int | None = None,
        gone: Callable[[], Coroutine[Any, Any, object]] | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send one request to the replica whose turn it is, or to the next that can be reached."""
        loop = asyncio.get_running_loop()
        *others, last = self._order(loop.time())
        for index in others:
            try:
                return await self._transports[index].send(
                    method, target, headers, body, length=length, gone=gone, deadline=deadline
                )
            except UpstreamUnreachable:
                self._rests_until[index] = loop.time() + self._rest
        return await self._transports[last].send(
            method, target, headers, body, length=length, gone=gone, deadline=deadline
        )

    def _order(self, now: float) -> list[int]:
        count = len(self._transports)
        turns = [(self._turn + offset) % count for offset in range(count)]
        self._turn = (self._turn + 1) % count
        return sorted(turns, key=lambda index: self._rests_until[index] > now)
