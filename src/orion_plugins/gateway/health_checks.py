"""Health checks: every replica of an upstream is asked now and then, so that one that is unwell gets no requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from orion_core.background import Looper
from orion_plugins.gateway.client import Transport, UpstreamError
from orion_plugins.gateway.replicas import Replicas

log = logging.getLogger("orion.gateway.health")

PATIENCE: Final = 2.0
"""Seconds that one check may take."""
_UNWELL_AFTER: Final = 2


class HealthChecks:
    """Asks each of `transports` for `path` every `interval` seconds, and tells `replicas` who is well.

    Well is who answers with a status below 400 in time. Unwell is who failed twice in a row: one lost packet must not
    move all the load to the others.
    """

    def __init__(
        self, name: str, replicas: Replicas, transports: Sequence[Transport], path: str, interval: float
    ) -> None:
        self._name = name
        self._replicas = replicas
        self._transports = tuple(transports)
        self._path = path.encode("ascii")
        self._failures = [0] * len(self._transports)
        self._looper = Looper(f"health checks of {name}", self.look, interval)

    def start(self) -> None:
        """Begin to ask, in the background."""
        self._looper.start()

    async def stop(self) -> None:
        """Ask no more."""
        await self._looper.stop(grace=0.0)

    async def look(self) -> bool:
        """Ask every replica once, all at the same time; always False, so that the next round waits its time."""
        results = await asyncio.gather(*(self._well(transport) for transport in self._transports))
        for index, well in enumerate(results):
            self._failures[index] = 0 if well else self._failures[index] + 1
            if well or self._failures[index] == _UNWELL_AFTER:
                self._tell(index, well)
        return False

    def _tell(self, index: int, well: bool) -> None:
        if self._replicas.healthy[index] == well:
            return
        self._replicas.set_healthy(index, well)
        # By number: the address of an upstream belongs into no log that people outside may read.
        log.log(
            logging.INFO if well else logging.WARNING,
            "replica changed",
            extra={"upstream": self._name, "replica": index + 1, "healthy": well},
        )

    async def _well(self, transport: Transport) -> bool:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        try:
            response = await transport.send("GET", self._path, (), deadline=deadline)
        except UpstreamError:
            return False
        response.abort()
        return response.status < 400
