"""The bus carries events from outboxes to listeners.

Guarantees: at least once; a publish counts as done only once the bus has it safely; a delivery is gone only after its
handler returned; a failing listener delays no other; a delivery that keeps failing ends as a dead letter with its
history. No order is promised. The inbox makes effects happen once.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs

from orion_core.errors import Unavailable
from orion_core.events import Envelope
from orion_core.ports.check import Check

RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds between the deliveries of an event whose listener fails; after the last one it is dead."""


@attrs.frozen
class Subscription:
    """A queue and what it is bound to.

    `queue` is ``<service>.<listener>``; `events` are wire names (``user.registered``), none for every event. A
    `broadcast` subscription gives every process its own short-lived copy, without retries. At most `concurrency`
    handlers run at once per process.
    """

    queue: str
    events: tuple[str, ...]
    broadcast: bool = False
    concurrency: int = 10


@attrs.frozen
class Delivery:
    """One event on its way to one listener; `attempt` counts deliveries from 1 over all retries and restarts."""

    envelope: Envelope
    attempt: int
    traceparent: str


Handler = Callable[[Delivery], Awaitable[None]]
"""Returns: done. Raises `Reject`: a dead letter at once. Raises anything else: delivered again after the next delay."""


class Reject(Exception):
    """Raised by a handler for a delivery that can never succeed."""


class BusClosed(Exception):
    """Publishing after close."""


class Disconnected(Unavailable):
    """The broker is away: nothing is known of publishes in flight, and nothing was spent."""

    code = "bus.disconnected"
    private = True


class Published(enum.Enum):
    """What became of one publish."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    """It was to be heard and no queue took it."""
    REFUSED = "refused"
    """The broker said no."""
    UNKNOWN = "unknown"
    """No answer in time, or the connection was lost meanwhile: publish it again."""


class Consumer(Protocol):
    """A running subscription."""

    async def stop(self, grace: float) -> None:
        """Take nothing new, wait up to `grace` seconds for running handlers, give back what was not finished."""
        ...


class Bus(Protocol):
    """Publishes envelopes and runs handlers for subscriptions."""

    async def declare(self, subscriptions: Sequence[Subscription], families: Sequence[str]) -> None:
        """Make every queue exist, and every family's exchange, so that what is published from now on is kept.

        Broadcast subscriptions are left out. Repeating it changes nothing.
        """
        ...

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Published]:
        """Hand over `envelopes`, in this order, and return what became of each.

        Raises `Disconnected` when the broker is away and `BusClosed` after `aclose`.
        """
        ...

    async def subscribe(self, subscription: Subscription, handler: Handler) -> Consumer:
        """Run `handler` for what arrives; resumes by itself after a lost connection."""
        ...

    async def check(self) -> Check:
        """``pass`` while connected, ``warn`` while the broker is away."""
        ...

    async def aclose(self) -> None:
        """Stop all consumers and close; nothing is left running."""
        ...
