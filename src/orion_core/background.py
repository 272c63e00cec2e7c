"""Background tasks that start clean and are always awaited."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

log = logging.getLogger("orion.background")


def spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run `work` as a task in an empty context: it inherits no actor and, above all, no open transaction."""
    return asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks` and wait until they are gone."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("a background task ended with an error", exc_info=outcome)


async def together(stops: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Stop all at once, since one after the other would take as many graces; raises the first error after the last."""
    for outcome in await asyncio.gather(*(stop() for stop in stops), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def cancelled_itself() -> bool:
    """Whether a `CancelledError` caught now is meant for this task; if not, something it waited for was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class Looper:
    """Calls `step` over and over: at once while it finds work, else when woken or after `interval` seconds.

    An exception is logged and followed by a pause, so that one bad row or a database that is away never ends the loop.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[bool]], interval: float) -> None:
        self.name = name
        self._step = step
        self._interval = interval
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._troubled = False
        self._stopping = False

    def start(self) -> None:
        """Begin."""
        self._stopping = False
        self._task = spawn(self._run(), self.name)

    def wake(self) -> None:
        """There may be work."""
        self._wake.set()

    async def stop(self, grace: float = 5.0) -> None:
        """Begin no other step, let the running one end within `grace` seconds, and cancel it after that."""
        task, self._task = self._task, None
        if task is not None:
            self._stopping = True
            self._wake.set()
            await asyncio.wait([task], timeout=grace)
            await end(task)

    async def _run(self) -> None:
        pause = self._interval
        while not self._stopping:
            self._wake.clear()
            try:
                busy = await self._step()
                if self._troubled:
                    log.info("%s works again", self.name)
                self._troubled, pause = False, self._interval
            except (Exception, asyncio.CancelledError) as error:
                # What a driver cancelled is no reason to end: nobody would start this loop again.
                if isinstance(error, asyncio.CancelledError) and cancelled_itself():
                    raise
                busy = False
                # An outage is one line when it begins, not one per attempt.
                if not self._troubled:
                    log.warning("%s failed: %s", self.name, error, exc_info=not hasattr(error, "retry_after"))
                self._troubled, pause = True, min(pause * 2, 5.0)
            if not busy and not self._stopping:
                try:
                    await asyncio.wait_for(self._wake.wait(), pause)
                except TimeoutError:
                    pass
