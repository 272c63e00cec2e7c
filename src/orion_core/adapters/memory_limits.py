"""Limits counted in the memory of this process."""

from __future__ import annotations

import time
from collections.abc import Callable

from orion_core.adapters._gcra import MOST, Buckets
from orion_core.ports.check import Check
from orion_core.ports.clock import Clock
from orion_core.ports.limits import MICROSECOND, Policy, Verdict


class MemoryLimits:
    """Keeps the port `Limits` inside one process, for deployments with one gateway. Bounded to `most` keys.

    `ticks` are nanoseconds of a clock that never runs backwards.
    """

    def __init__(self, clock: Clock, *, most: int = MOST, ticks: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._ticks = ticks
        self._buckets = Buckets(most)

    async def spend(self, policy: Policy, key: str) -> Verdict:
        """Whether one more under `key` is allowed by `policy`; if it is, it counts."""
        # A time of day may be set back, which would make people wait; the clock's own advances still count.
        now = self._ticks() // 1000
        if offset := self._clock.offset:
            now += offset // MICROSECOND
        return self._buckets.spend(policy, key, now)

    async def check(self) -> Check:
        """Always ``pass``."""
        return Check("pass")

    async def aclose(self) -> None:
        """Nothing is open."""
