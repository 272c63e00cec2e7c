"""The state of a circuit breaker: counts what became of calls and says whether the next one may go. No I/O."""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from orion_plugins.gateway.client import BreakerOpen

log = logging.getLogger("orion.gateway.breaker")

State: TypeAlias = Literal["closed", "open", "half_open"]
_SLOTS = 100
"""Parts of the window: calls leave it a hundredth of its length at a time."""


@attrs.frozen(kw_only=True)
class BreakerPolicy:
    """When a breaker opens and closes (G50); times in seconds.

    It opens when `ratio` of at least `calls` calls within `window` failed, or after `connects` connect errors in a row.
    It stays open for `rest`, twice as long each time it opens again without having closed, `longest_rest` at most, and
    up to the share `jitter` less, so that several gateways do not probe at once. Then `probes` calls may go, each with
    `probe_deadline` to come back.
    """

    window: float = 10.0
    calls: int = 20
    ratio: float = 0.5
    connects: int = 5
    rest: float = 10.0
    longest_rest: float = 120.0
    jitter: float = 0.1
    probes: int = 3
    probe_deadline: float = 10.0


class Circuit:
    """The breaker of the upstream `name`; `time` is a clock in seconds that never runs backwards.

    `admit` gives a ticket for each call, which comes back through exactly one of `succeeded`, `failed` and `abandoned`.
    What comes back after the state has changed counts no more: it says how the upstream was, not how it is.

    `state`, `transitions` and `refused` are there to be read by whoever reports them.
    """

    def __init__(
        self,
        name: str,
        time: Callable[[], float],
        *,
        policy: BreakerPolicy | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.state: State = "closed"
        self.transitions: Counter[tuple[State, State]] = Counter()
        self.refused = 0
        self._time = time
        self._policy = policy or BreakerPolicy()
        self._chance = chance
        self._width = self._policy.window / _SLOTS
        self._epoch = 0  # the ticket of every call while closed; another one after each transition
        self._tickets = 0
        self._until = 0.0
        self._reopened = 0
        self._clear()

    def admit(self) -> int:
        """A ticket for one call; raises `BreakerOpen` when it must not be made."""
        if self.state == "closed":
            return self._epoch
        policy, now = self._policy, self._time()
        if self.state == "open" and now >= self._until:
            self._enter("half_open")
        if self.state == "half_open" and any(deadline <= now for deadline in self._probes.values()):
            self._open(now)  # a probe never came back: that is an answer too
        if self.state == "half_open" and len(self._probes) + self._alive < policy.probes:
            self._tickets += 1
            self._probes[self._tickets] = now + policy.probe_deadline
            return self._tickets
        self.refused += 1
        wait = self._until - now if self.state == "open" else min(self._probes.values(), default=now + 1) - now
        raise BreakerOpen(f"the breaker of {self.name} is {self.state}", wait)

    def succeeded(self, ticket: int) -> None:
        """The upstream answered with a status below 500: it is alive, whatever it thinks of the request."""
        if ticket == self._epoch:
            self._connects = 0
            self._count(failed=False)
        elif self._probes.pop(ticket, None) is not None:
            self._alive += 1
            if self._alive >= self._policy.probes:
                self._reopened = 0
                self._enter("closed")

    def failed(self, ticket: int, *, unreachable: bool = False) -> None:
        """The upstream answered 5xx, broke off, was too slow or, if `unreachable`, could not be connected to."""
        if ticket == self._epoch:
            self._connects = self._connects + 1 if unreachable else 0
            self._count(failed=True)
            if self._connects >= self._policy.connects:
                self._open(self._time())
        elif self._probes.pop(ticket, None) is not None:
            self._open(self._time())

    def abandoned(self, ticket: int) -> None:
        """The call ended without saying anything about the upstream: the client left, or its body broke."""
        self._probes.pop(ticket, None)

    def repeated(self, *, unreachable: bool) -> bool:
        """Count a failed attempt that a retry wants to follow; whether it may, which is only while closed."""
        if self.state == "closed":
            self.failed(self._epoch, unreachable=unreachable)
        return self.state == "closed"

    def _count(self, *, failed: bool) -> None:
        now = self._time()
        slot = int(now / self._width)
        slots = self._slots
        if not slots or slots[-1][0] != slot:
            slots.append([slot, 0, 0])
            while slots[0][0] <= slot - _SLOTS:
                _, calls, failures = slots.popleft()
                self._calls -= calls
                self._failures -= failures
        slots[-1][1] += 1
        self._calls += 1
        if failed:
            slots[-1][2] += 1
            self._failures += 1
        if self._calls >= self._policy.calls and self._failures >= self._policy.ratio * self._calls:
            self._open(now)

    def _open(self, now: float) -> None:
        policy = self._policy
        rest = min(policy.rest * 2.0 ** min(self._reopened, 30), policy.longest_rest)
        self._reopened += 1
        self._until = now + rest * (1 - policy.jitter * self._chance())
        self._enter("open")

    def _enter(self, state: State) -> None:
        before, self.state = self.state, state
        self.transitions[before, state] += 1
        self._tickets += 1
        self._epoch = self._tickets
        self._clear()
        log.log(
            logging.WARNING if state == "open" else logging.INFO,
            "breaker changed",
            extra={"upstream": self.name, "before": before, "state": state},
        )

    def _clear(self) -> None:
        self._slots: deque[list[int]] = deque()
        self._calls = 0
        self._failures = 0
        self._connects = 0
        self._alive = 0
        self._probes: dict[int, float] = {}
