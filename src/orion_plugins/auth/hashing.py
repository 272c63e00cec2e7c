"""Where password hashing runs: as many threads as cores, and a bounded number of passwords waiting for them."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from orion_core.contracts.auth import HashingBusy

T = TypeVar("T")

_SECONDS_EACH = 0.06


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class HashingPool:
    """Runs slow functions of pure computation off the event loop.

    At most `threads` run at once and at most `queue` more wait; beyond that `run` raises `HashingBusy`, which says when
    to ask again. A caller who goes away while waiting gives the place free.
    """

    def __init__(self, *, queue: int, threads: int = 0) -> None:
        self._threads = threads or cores()
        self._limit = self._threads + queue
        self._inside = 0
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="orion-hashing")

    @property
    def inside(self) -> int:
        """How many calls run or wait now."""
        return self._inside

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The result of ``function(*args)``; raises `HashingBusy` when the queue is full."""
        if self._inside >= self._limit:
            wait = max(1, math.ceil(self._inside * _SECONDS_EACH / self._threads))
            raise HashingBusy("too many passwords wait to be checked: try again later", retry_after=float(wait))
        self._inside += 1
        loop = asyncio.get_running_loop()
        try:
            future = self._executor.submit(function, *args)
        except BaseException:
            self._inside -= 1
            raise
        # A call that is already running when its caller goes away still takes a thread, so the place is free when the
        # computation is over and not when the caller is gone.
        future.add_done_callback(lambda done: self._leave(loop, done))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop what waits, let running computations end, and stop the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _leave(self, loop: asyncio.AbstractEventLoop, _: Future[Any]) -> None:
        # The loop may be gone when the last thread ends after a shutdown.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._left)

    def _left(self) -> None:
        self._inside -= 1
