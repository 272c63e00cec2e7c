"""Limits: how often something may be done, counted for all processes of a deployment together.

Guarantees: of a policy of N in a window, N at once are allowed and the next one is not, however many ask at the same
time in however many processes; what was spent comes back one by one, evenly over the window, so that no edge of a
window allows twice N; what is refused costs nothing. A question never fails: while the counts cannot be reached, each
process decides by its own, which it keeps all the time, with its share of the quota.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import attrs

from orion_core.ports.check import Check

MICROSECOND = timedelta(microseconds=1)
MICROSECONDS = 1_000_000


def _whole(least: int, most: int) -> Any:
    def check(_: Any, field: attrs.Attribute[Any], given: int) -> None:
        if not least <= given <= most:
            raise ValueError(f"{field.name} must be from {least} to {most}, not {given}")

    return check


@attrs.frozen
class Policy:
    """`quota` requests in each `window` of seconds; `name` tells its counts from those of other policies.

    `interval` is the time after which one more is allowed, `capacity` that of all of them, in microseconds: whole
    numbers, so that every adapter counts alike.
    """

    name: str
    quota: int = attrs.field(validator=_whole(1, MICROSECONDS))
    window: int = attrs.field(validator=_whole(1, 366 * 86_400))
    interval: int = attrs.field(init=False)
    capacity: int = attrs.field(init=False)

    @interval.default
    def _interval(self) -> int:
        # Rounded up: over a long time never more than the quota. A quota of 0 is refused by its validator, which runs
        # after this.
        return -(-self.window * MICROSECONDS // (self.quota or 1))

    @capacity.default
    def _capacity(self) -> int:
        return self.interval * self.quota

    def share(self, of: int) -> Policy:
        """The part of it that one of `of` processes may allow by itself, at least one request."""
        return attrs.evolve(self, quota=max(1, self.quota // of))


class Verdict(NamedTuple):
    """The answer: whether it is `allowed`, how many `remaining` ones would be now, and the `wait` for one more in
    seconds; for what was refused, the time after which it will be allowed if nobody else asks."""

    allowed: bool
    remaining: int
    wait: float


class Limits(Protocol):
    """Counts what was done under keys, by policies."""

    async def spend(self, policy: Policy, key: str) -> Verdict:
        """Whether one more under `key` is allowed by `policy`; if it is, it counts."""
        ...

    async def check(self) -> Check:
        """``pass``, or ``warn`` with the reason while each process decides by itself."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
