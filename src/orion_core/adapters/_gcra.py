"""The generic cell rate algorithm (ITU-T I.371) on counts in memory.

Of each key one number is kept: the theoretical arrival time, at which everything spent so far will have come back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from orion_core.ports.limits import MICROSECONDS, Policy, Verdict

MOST: Final = 100_000
"""Keys that are kept; beyond that the ones that were not asked for the longest time begin anew."""


class Buckets:
    """Theoretical arrival times by policy and key. Times are microseconds of any clock that never runs backwards."""

    __slots__ = ("_most", "_times")

    def __init__(self, most: int = MOST) -> None:
        self._times: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._times)

    def spend(self, policy: Policy, key: str, now: int) -> Verdict:
        """Whether one more is allowed at `now`; if it is, it counts."""
        at = (policy.name, key)
        ahead = max(0, self._times.get(at, 0) - now)
        allowed = ahead + policy.interval <= policy.capacity
        if allowed:
            ahead += policy.interval
            self._keep(at, now + ahead)
        return verdict(policy, ahead, allowed)

    def note(self, policy: Policy, key: str, now: int) -> None:
        """Count one more that somebody else allowed at `now`; what is over the quota is forgotten."""
        at = (policy.name, key)
        self._keep(at, min(max(now, self._times.get(at, 0)) + policy.interval, now + policy.capacity))

    def _keep(self, at: tuple[str, str], time: int) -> None:
        times = self._times
        times[at] = time
        times.move_to_end(at)
        if len(times) > self._most:
            times.popitem(last=False)


def verdict(policy: Policy, ahead: int, allowed: bool) -> Verdict:
    """The verdict when everything spent will have come back `ahead` microseconds from now."""
    free = policy.capacity - ahead
    interval = policy.interval
    if not allowed:
        return Verdict(False, 0, (interval - free) / MICROSECONDS)
    return Verdict(True, free // interval, (interval - free % interval) / MICROSECONDS)
