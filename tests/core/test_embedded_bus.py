"""The embedded bus keeps the promises of its port, and survives the end of its process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from core_store import sqlite_store

from orion_core.adapters.embedded_bus import EmbeddedBus
from orion_core.events import Envelope
from orion_core.outbox import COLUMNS, envelope
from orion_core.ports.bus import Bus, Published
from orion_core.ports.database import Database
from orion_core.testing.suites.bus import RETRY_DELAYS, BusSuite, DeadLetter, Features


async def keep(db: Database, *envelopes: Envelope) -> None:
    """Put `envelopes` into the outbox, as what a transaction told."""
    for item in envelopes:
        await db.fetch(
            f"INSERT INTO orion_outbox ({COLUMNS}, attempts, due_ms, claimed_until_ms, last_error) VALUES "
            "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, 0, 0, '')",
            item.id,
            item.name,
            item.version,
            item.source,
            item.subject,
            item.sequence,
            int(item.time.timestamp() * 1000),
            item.data,
            item.correlation_id,
            item.causation_id,
            item.started,
            item.tracestate,
            item.originator,
            item.heard,
        )


class TestEmbeddedBus(BusSuite):
    features = Features(persistent=True, ordered=True)

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        async with sqlite_store() as db:
            bus = EmbeddedBus({"auth": db}, retry_delays=RETRY_DELAYS, interval=0.05)
            try:
                yield bus
            finally:
                await bus.aclose()

    @asynccontextmanager
    async def another(self, bus: Bus) -> AsyncIterator[Bus]:
        assert isinstance(bus, EmbeddedBus)
        other = EmbeddedBus(bus._databases, retry_delays=RETRY_DELAYS, interval=0.05)
        try:
            yield other
        finally:
            await other.aclose()

    async def send(self, bus: Bus, *envelopes: Envelope) -> Sequence[Published]:
        assert isinstance(bus, EmbeddedBus)
        await keep(bus._databases["auth"], *envelopes)
        return await bus.publish(envelopes)

    async def dead_letters(self, bus: Bus, queue: str) -> Sequence[DeadLetter]:
        assert isinstance(bus, EmbeddedBus)
        rows = await bus._databases["auth"].fetch(
            "SELECT d.event_id AS event_id, d.attempts AS tries, error_class, error_message, first_failed_ms, "
            "last_failed_ms FROM orion_deliveries d WHERE queue = $1 AND state = 'dead' ORDER BY d.id",
            queue,
        )
        letters = []
        for row in rows:
            (event,) = await bus._databases["auth"].fetch(
                f"SELECT {COLUMNS} FROM orion_outbox WHERE event_id = $1", row["event_id"]
            )
            item = envelope(event)
            letters.append(
                DeadLetter(
                    envelope=item,
                    attempts=row["tries"],
                    error=row["error_class"],
                    message=row["error_message"],
                    first_failed=datetime.fromtimestamp(row["first_failed_ms"] / 1000, UTC),
                    last_failed=datetime.fromtimestamp(row["last_failed_ms"] / 1000, UTC),
                    exchange=f"{item.family}.events",
                    routing_key=item.name,
                )
            )
        return letters
