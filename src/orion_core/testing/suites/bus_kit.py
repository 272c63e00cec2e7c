"""Events and handlers for the tests of a bus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from orion_core.context import new_traceparent
from orion_core.events import Envelope
from orion_core.ids import new_id
from orion_core.ports.bus import Delivery

BOUND = 20.0
"""Seconds after which a test gives up waiting for something that should happen at once."""


def an_event(name: str = "user.registered", **changes: Any) -> Envelope:
    """An envelope of the service ``auth`` that differs from every other."""
    identity, now = new_id(), datetime.now(UTC)
    made = Envelope(
        id=identity,
        name=name,
        version=1,
        source="/orion/auth",
        subject=str(identity),
        sequence=1,
        # Outboxes keep milliseconds.
        time=now.replace(microsecond=now.microsecond // 1000 * 1000),
        data='{"email":"ada@x.org"}',
        correlation_id=f"correlation-{identity}",
        causation_id="",
        started=new_traceparent(),
        tracestate="",
        originator="system",
        heard=False,
    )
    return attrs.evolve(made, **changes)


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait until `holds`, checking often and not for ever; fails with `what` was awaited."""
    deadline = asyncio.get_running_loop().time() + BOUND
    while True:
        found = holds()
        if await found if isinstance(found, Awaitable) else found:
            return
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"still waiting after {BOUND:.0f} s: {what}")
        await asyncio.sleep(0.005)


class Inbox:
    """A handler that keeps what it is given; `fails` says what to raise for a delivery, if anything."""

    def __init__(self, fails: Callable[[Delivery], BaseException | None] = lambda _: None) -> None:
        self.deliveries: list[Delivery] = []
        self._fails = fails

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if error := self._fails(delivery):
            raise error

    @property
    def names(self) -> list[str]:
        return [delivery.envelope.name for delivery in self.deliveries]

    @property
    def envelopes(self) -> list[Envelope]:
        return [delivery.envelope for delivery in self.deliveries]

    async def has(self, count: int) -> None:
        """Wait for at least `count` deliveries."""
        await until(lambda: len(self.deliveries) >= count, f"delivery {count}, {len(self.deliveries)} came")

    async def heard(self, *events: Envelope) -> None:
        """Wait until each of `events` came at least once."""
        missing = {event.id for event in events}
        await until(lambda: missing <= {found.id for found in self.envelopes}, f"{len(missing)} events")


class Gate:
    """A handler that says when it began and waits to be let through."""

    def __init__(self) -> None:
        self.begun = 0
        self.most_at_once = 0
        self.done: list[Envelope] = []
        self.open = asyncio.Event()
        self._now = 0

    async def __call__(self, delivery: Delivery) -> None:
        self.begun += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.open.wait()
        finally:
            self._now -= 1
        self.done.append(delivery.envelope)

    async def has_begun(self, count: int) -> None:
        """Wait until `count` deliveries have begun."""
        await until(lambda: self.begun >= count, f"handler {count} to begin, {self.begun} did")
