"""A deployment whose servers can be cut off, each behind a proxy of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

from orion_core.testing.faults import FaultProxy, through
from orion_core.testing.processes import Processes


class Fault:
    """A `FaultProxy` in an event loop of its own, so that tests may block and clients may be anywhere."""

    def __init__(self, url: str, port: int) -> None:
        parts = urlsplit(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to port {port}")
        self.proxy = FaultProxy(parts.hostname or "127.0.0.1", parts.port or port)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self.proxy.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self.proxy.__aexit__(kind, error, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def begin(self, how: str) -> None:
        """``refuse``: nobody is there. ``stall``: somebody is there and says nothing."""
        self._run(getattr(self.proxy, how)())

    def heal(self) -> None:
        """All is well again."""
        self._run(self.proxy.heal())

    def through(self, url: str) -> str:
        """`url` by way of this proxy."""
        return through(url, self.proxy)

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@attrs.frozen
class Deployment:
    """Processes, and what stands between them and the servers. `users_database` is in front of the users' alone."""

    processes: Processes
    broker: Fault
    cache: Fault
    database: Fault
    users_database: Fault
