"""How requests went: counted in memory, told once a minute as one event for each service (`RequestsMeasured`).

A request costs the lookup of its route and a few additions. Routes are known, so memory is bounded whatever is asked
for; what no route takes counts as ``unmatched``.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from orion_core import codec
from orion_core.background import Looper
from orion_core.context import current
from orion_core.contracts.platform import BOUNDS_MS, RequestsMeasured, RouteMeasure
from orion_core.errors import Unavailable
from orion_core.events import Envelope, event_type
from orion_core.ids import new_id
from orion_core.outbox import Outbox
from orion_core.plugin import under
from orion_core.ports.bus import Bus, Published
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database

log = logging.getLogger("orion.requests")

UNMATCHED = "unmatched"
MOST = 1000
"""Routes that are told apart; what comes on top counts as unmatched."""
LOOK = 5.0
"""Seconds between looks at whether the minute is over."""
PATIENCE = 2.0
"""Seconds that telling may take when the process ends."""
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class RequestMeter:
    """The requests of this process since they were last told."""

    def __init__(self, prefixes: Mapping[str, str], other: str) -> None:
        """`prefixes` are public paths with their services; `other` is the service that everything else counts for."""
        self._prefixes = prefixes
        self._other = other
        self._measured: dict[tuple[str, str], _Measured] = {}

    def count(self, template: str, method: str, status: int, took_ms: float) -> None:
        """Count one request of the route `template`, which is empty for one that no route took."""
        measured = self._of(template or UNMATCHED, method if method in _METHODS else "OTHER")
        measured.count += 1
        measured.errors += status >= 500
        measured.total_ms += took_ms
        measured.buckets[bisect.bisect_left(BOUNDS_MS, took_ms)] += 1

    def restore(self, routes: Iterable[RouteMeasure]) -> None:
        """Count again what was taken and could not be told."""
        for each in routes:
            measured = self._of(each.route, each.method)
            measured.count += each.count
            measured.errors += each.errors
            measured.total_ms += each.total_ms
            measured.buckets = [mine + theirs for mine, theirs in zip(measured.buckets, each.buckets, strict=True)]

    def _of(self, template: str, method: str) -> _Measured:
        measured = self._measured.get((template, method))
        if measured is None:
            key = (template, method) if len(self._measured) < MOST else (UNMATCHED, "OTHER")
            measured = self._measured.setdefault(key, _Measured())
        return measured

    def take(self) -> dict[str, tuple[RouteMeasure, ...]]:
        """What was counted, by service, and begin anew."""
        measured, self._measured = self._measured, {}
        found: dict[str, list[RouteMeasure]] = {}
        for (template, method), each in measured.items():
            service = under(self._prefixes, template) or self._other
            found.setdefault(service, []).append(
                RouteMeasure(template, method, each.count, each.errors, round(each.total_ms, 3), tuple(each.buckets))
            )
        return {service: tuple(routes) for service, routes in found.items()}


class RequestReporter:
    """Tells what `meter` counted, every minute and at the end, through the outbox of each service.

    Services without a database are told of by the first one of the process that has one, and in a process without any,
    such as one of the gateway alone, straight through the bus.
    """

    def __init__(
        self,
        meter: RequestMeter,
        outboxes: Mapping[str, Outbox],
        databases: Mapping[str, Database],
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._meter = meter
        self._outboxes = outboxes
        self._databases = databases
        self._bus = bus
        self._clock = clock
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._minute = _minute(clock.now())
        self._loop = Looper("measures of requests", self._step, LOOK)
        self.wake = self._loop.wake

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def stop(self) -> None:
        """Tell what is left, and end."""
        await self._loop.stop()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.tell()
        except Exception as error:
            log.warning("the last measures of requests could not be told: %s", error)

    async def _step(self) -> bool:
        if _minute(self._clock.now()) > self._minute:
            await self.tell()
        return False

    async def tell(self) -> None:
        """Tell what was counted so far. What cannot be told is told with the next minute, and lost with the process.

        Raises the first of what went wrong, after all others were told.
        """
        minute, self._minute = self._minute, _minute(self._clock.now())
        by_outbox: dict[str, list[RequestsMeasured]] = {}
        for service, routes in self._meter.take().items():
            through = service if service in self._outboxes else next(iter(self._outboxes), "")
            by_outbox.setdefault(through, []).append(RequestsMeasured(service, self._process, minute, routes))
        failures: list[Exception] = []
        for through, events in by_outbox.items():
            try:
                await self._publish(through, events)
            except Exception as error:
                failures.append(error)
                for event in events:
                    self._meter.restore(event.routes)
        if failures:
            raise failures[0]

    async def _publish(self, through: str, events: Sequence[RequestsMeasured]) -> None:
        if through:
            async with self._databases[through].transaction():
                await self._outboxes[through].publish(*events)
            return
        for outcome in await self._bus.publish([self._envelope(event) for event in events]):
            if outcome is not Published.CONFIRMED:
                raise Unavailable(f"the bus did not take the measures of requests: {outcome.value}")

    def _envelope(self, event: RequestsMeasured) -> Envelope:
        kind, event_id = event_type(RequestsMeasured), new_id()
        return Envelope(
            id=event_id,
            name=kind.name,
            version=kind.version,
            source=f"/orion/{event.service}",
            # An aggregate of its own: nobody here remembers a sequence.
            subject=str(event_id),
            sequence=1,
            time=self._clock.now(),
            data=codec.dumps(event),
            correlation_id=current().correlation_id,
            causation_id="",
            started=current().traceparent,
            tracestate="",
            originator=current().originator,
            heard=kind.heard,
        )


class _Measured:
    __slots__ = ("buckets", "count", "errors", "total_ms")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.total_ms = 0.0
        self.buckets = [0] * (len(BOUNDS_MS) + 1)


def _minute(at: datetime) -> datetime:
    return at - timedelta(seconds=at.second, microseconds=at.microsecond)
