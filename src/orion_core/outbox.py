"""The outbox: events are rows of the business transaction; a relay hands them to the bus after the commit.

A row is marked as published only once the bus has confirmed it. A relay that dies in between publishes again, and the
inbox of each listener drops the repeat. A broker that is away pauses the relay and spends nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core import codec
from orion_core.background import Looper
from orion_core.context import current
from orion_core.contract import Contract, modules_of
from orion_core.events import Envelope, event_type
from orion_core.ids import new_id
from orion_core.ports.bus import Bus, Disconnected, Published
from orion_core.ports.clock import Clock
from orion_core.ports.database import OPEN_TRANSACTION, Database

log = logging.getLogger("orion.outbox")

BATCH = 100
LEASE_MS = 15_000
"""How long claimed rows wait for a relay that died."""
PUBLISH_SECONDS = 12.0
"""How long one batch may take: never so long that another relay may claim its rows."""
PLATFORM_EVENTS = "orion_core.contracts.platform"
"""The module whose events any service may publish."""

_NEXT = """
INSERT INTO orion_sequences (aggregate, last) VALUES ($1, 1)
ON CONFLICT (aggregate) DO UPDATE SET last = orion_sequences.last + 1 RETURNING last
"""
_ADD = """
INSERT INTO orion_outbox (event_id, name, version, source, subject, sequence, time_ms, data, correlation_id,
    causation_id, started, tracestate, originator, heard, attempts, due_ms, claimed_until_ms, last_error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, 0, 0, '')
"""
COLUMNS = (
    "event_id, name, version, source, subject, sequence, time_ms, data, correlation_id, causation_id, started, "
    "tracestate, originator, heard"
)


class Outbox:
    """The publishing side of one service; fills the need `Events`."""

    def __init__(self, service: str, contract: type[Contract], db: Database, clock: Clock) -> None:
        self._service = service
        self._owners = (*modules_of(contract), PLATFORM_EVENTS)
        self._db = db
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None

    def wakes(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every commit that published something."""
        self._wake = wake

    async def publish(self, *events: Any) -> Sequence[UUID]:
        """See `Events.publish`."""
        transaction = OPEN_TRANSACTION.get()
        if not transaction:
            raise RuntimeError("publish inside a transaction: an event leaves if and only if its facts are committed")
        context = current()
        ids = []
        for event in events:
            kind = event_type(type(event))
            if kind.cls.__module__ not in self._owners:
                raise TypeError(
                    f"{self._service} may not publish {kind.name}: it belongs to the contract in {kind.cls.__module__}"
                )
            event_id = new_id()
            subject = str(getattr(event, kind.subject)) if kind.subject else str(event_id)
            sequence = await self._next(f"{kind.family}:{subject}") if kind.subject else 1
            await self._db.fetch(
                _ADD,
                event_id,
                kind.name,
                kind.version,
                f"/orion/{self._service}",
                subject,
                sequence,
                int(self._clock.now().timestamp() * 1000),
                codec.dumps(event),
                context.correlation_id,
                context.causation_id,
                context.traceparent,
                context.tracestate[:512],
                context.originator,
                kind.heard,
            )
            ids.append(event_id)
        transaction.after_commit(self._wake)
        return ids

    async def _next(self, aggregate: str) -> int:
        return int((await self._db.fetch(_NEXT, aggregate))[0]["last"])


def envelope(row: dict[str, Any]) -> Envelope:
    """The envelope in an outbox row with `COLUMNS`."""
    return Envelope(
        id=row["event_id"],
        name=row["name"],
        version=row["version"],
        source=row["source"],
        subject=row["subject"],
        sequence=row["sequence"],
        time=datetime.fromtimestamp(row["time_ms"] / 1000, UTC),
        data=row["data"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        started=row["started"],
        tracestate=row["tracestate"],
        originator=row["originator"],
        heard=bool(row["heard"]),
    )


def numbered(count: int, first: int = 1) -> str:
    """``$1, $2, ...``: `count` placeholders beginning with number `first`."""
    return ", ".join(f"${first + index}" for index in range(count))


class Relay:
    """Carries the rows of one outbox to the bus."""

    def __init__(
        self, service: str, db: Database, bus: Bus, interval: float, listened: Collection[str] | None = None
    ) -> None:
        """`listened` are the names that the deployment has listeners for: an event that none of its services wants
        cannot be an alarm. None stands for every name."""
        self._service = service
        self._db = db
        self._bus = bus
        self._listened = listened
        now = db.dialect.now_ms
        self._claim = f"""
        UPDATE orion_outbox SET claimed_until_ms = {now} + {LEASE_MS} WHERE position IN (
            SELECT position FROM orion_outbox
            WHERE published_ms IS NULL AND due_ms <= {now} AND claimed_until_ms <= {now}
            ORDER BY position LIMIT {BATCH} {db.dialect.skip_locked}
        ) RETURNING position, attempts, {COLUMNS}
        """
        self._waiting = f"""
        SELECT 1 AS found FROM orion_outbox
        WHERE published_ms IS NULL AND due_ms <= {now} AND claimed_until_ms <= {now} LIMIT 1
        """
        self._loop = Looper(f"relay of {service}", self.step, interval)
        self.wake = self._loop.wake

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def stop(self) -> None:
        """End."""
        await self._loop.stop()

    async def step(self) -> bool:
        """Publish one batch; returns whether there may be more."""
        # Looking first is cheap; claiming writes.
        if not await self._db.fetch(self._waiting):
            return False
        try:
            # Away already? Then nothing is claimed. `check` would not do: it also warns of a single queue.
            await self._bus.publish([])
        except Disconnected:
            return False
        rows = sorted(await self._db.fetch(self._claim), key=lambda row: row["position"])
        if not rows:
            return False
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                outcomes = await self._bus.publish([self._envelope(row) for row in rows])
        except (Disconnected, TimeoutError):
            await self._release(rows)
            return False
        except BaseException:
            # Also when stopped: the next relay need not wait for the end of the claim.
            await self._release(rows)
            raise
        confirmed = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is Published.CONFIRMED]
        unknown = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is Published.UNKNOWN]
        if confirmed:
            await self._db.fetch(
                f"UPDATE orion_outbox SET published_ms = {self._db.dialect.now_ms} "
                f"WHERE position IN ({numbered(len(confirmed))})",
                *(row["position"] for row in confirmed),
            )
        if unknown:
            # A broker that is away or silent is no fault of the event, so it costs no attempt.
            await self._release(unknown)
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome in (Published.UNROUTABLE, Published.REFUSED):
                await self._postpone(row, outcome)
        return len(rows) == BATCH and not unknown

    def _envelope(self, row: dict[str, Any]) -> Envelope:
        found = envelope(row)
        if found.heard and self._listened is not None and found.name not in self._listened:
            return attrs.evolve(found, heard=False)
        return found

    async def _release(self, rows: Sequence[dict[str, Any]]) -> None:
        await self._db.fetch(
            f"UPDATE orion_outbox SET claimed_until_ms = 0 WHERE position IN ({numbered(len(rows))})",
            *(row["position"] for row in rows),
        )

    async def _postpone(self, row: dict[str, Any], outcome: Published) -> None:
        delay_ms = min(60_000, 250 * 2 ** min(row["attempts"], 10))
        log.error(
            "the bus did not take %s of %s: %s; it stays in the outbox and is tried again",
            row["name"],
            self._service,
            outcome.value,
        )
        await self._db.fetch(
            f"UPDATE orion_outbox SET attempts = attempts + 1, claimed_until_ms = 0, last_error = $1, "
            f"due_ms = {self._db.dialect.now_ms} + {delay_ms} WHERE position = $2 AND published_ms IS NULL",
            outcome.value,
            row["position"],
        )
