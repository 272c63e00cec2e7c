"""The durable bus of one process: deliveries are rows in the publishers' own databases.

A published event becomes one row per listening queue, in the database of its publisher. Each queue has its own
consumer, so a slow or failing listener delays no other. The attempt is counted before the listener runs: one that ends
its process runs out of attempts like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orion_core.background import Looper, end, spawn
from orion_core.context import child_traceparent
from orion_core.events import Envelope
from orion_core.outbox import COLUMNS, envelope, numbered
from orion_core.ports.bus import (
    RETRY_DELAYS,
    Bus,
    BusClosed,
    Delivery,
    Handler,
    Published,
    Reject,
    Subscription,
)
from orion_core.ports.check import Check
from orion_core.ports.database import Database

log = logging.getLogger("orion.bus")

LEASE_MS = 90_000
"""Longer than a listener may run; after a crash the next start frees what was claimed."""


class EmbeddedBus(Bus):
    """See the module; `databases` are those of the services in this process, by name."""

    def __init__(
        self, databases: Mapping[str, Database], *, retry_delays: Sequence[float] = RETRY_DELAYS, interval: float = 0.5
    ) -> None:
        self._databases = databases
        self._delays = tuple(retry_delays)
        self._queues: dict[str, Subscription] = {}
        self._consumers: list[_Consumer] = []
        self._broadcasts: list[tuple[Subscription, Handler]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._poll = Looper("embedded bus", self._look, interval)
        self._started = False

    async def declare(self, subscriptions: Sequence[Subscription], families: Sequence[str]) -> None:
        for subscription in subscriptions:
            if not subscription.broadcast:
                self._queues[subscription.queue] = subscription
        for db in self._databases.values():
            # One process owns these rows: what a crash left claimed is free again.
            await db.fetch(
                "UPDATE orion_deliveries SET claimed_until_ms = 0 WHERE claimed_until_ms > 0 AND state = 'ready'"
            )
        if not self._started:
            self._started = True
            self._poll.start()

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Published]:
        if self._closed:
            raise BusClosed("the bus is closed")
        outcomes = []
        rows: dict[str, list[tuple[Envelope, str]]] = {}
        for item in envelopes:
            bound = [queue for queue, subscription in self._queues.items() if item.name in subscription.events]
            everything = [queue for queue, subscription in self._queues.items() if not subscription.events]
            outcomes.append(Published.UNROUTABLE if item.heard and not bound else Published.CONFIRMED)
            if outcomes[-1] is Published.CONFIRMED:
                rows.setdefault(item.service, []).extend((item, queue) for queue in bound + everything)
        for service, deliveries in rows.items():
            await self._store(self._databases[service], deliveries)
        for item, outcome in zip(envelopes, outcomes, strict=True):
            if outcome is Published.CONFIRMED:
                self._broadcast(item)
        self._wake()
        return outcomes

    async def subscribe(self, subscription: Subscription, handler: Handler) -> _Consumer:
        consumer = _Consumer(subscription, handler, self._databases, self._delays, self._left)
        if subscription.broadcast:
            self._broadcasts.append((subscription, handler))
        else:
            self._queues.setdefault(subscription.queue, subscription)
            consumer.start()
        self._consumers.append(consumer)
        return consumer

    async def check(self) -> Check:
        return Check("pass", "in this process")

    async def aclose(self) -> None:
        self._closed = True
        await self._poll.stop()
        await asyncio.gather(*(consumer.stop(0) for consumer in list(self._consumers)))
        await end(*self._running)

    def _left(self, consumer: _Consumer) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)
        self._broadcasts = [pair for pair in self._broadcasts if pair[1] is not consumer.handler]

    async def _store(self, db: Database, deliveries: Sequence[tuple[Envelope, str]]) -> None:
        for start in range(0, len(deliveries), 100):
            part = deliveries[start : start + 100]
            values = ", ".join(
                f"(${2 * index + 1}, (SELECT position FROM orion_outbox WHERE event_id = ${2 * index + 1}), "
                f"${2 * index + 2}, 'ready', 0, {db.dialect.now_ms}, 0, '', '')"
                for index in range(len(part))
            )
            await db.fetch(
                "INSERT INTO orion_deliveries (event_id, position, queue, state, attempts, due_ms, claimed_until_ms, "
                f"error_class, error_message) VALUES {values} ON CONFLICT (event_id, queue) DO NOTHING",
                *(argument for item, queue in part for argument in (item.id, queue)),
            )

    def _broadcast(self, item: Envelope) -> None:
        for subscription, handler in self._broadcasts:
            if not subscription.events or item.name in subscription.events:
                delivery = Delivery(item, 1, child_traceparent(item.started))
                task = spawn(_quietly(handler, delivery, subscription.queue), f"broadcast {subscription.queue}")
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def _wake(self) -> None:
        for consumer in self._consumers:
            consumer.wake()

    async def _look(self) -> bool:
        """Wake the consumers of deliveries that are due: after a delay, or written before a restart."""
        for db in self._databases.values():
            due = await db.fetch(
                "SELECT DISTINCT queue FROM orion_deliveries "
                f"WHERE state = 'ready' AND due_ms <= {db.dialect.now_ms} AND claimed_until_ms <= {db.dialect.now_ms}"
            )
            queues = {row["queue"] for row in due}
            for consumer in self._consumers:
                if consumer.subscription.queue in queues:
                    consumer.wake()
        return False


async def _quietly(handler: Handler, delivery: Delivery, queue: str) -> None:
    try:
        await handler(delivery)
    except Exception:
        log.exception("the broadcast listener %s failed on %s", queue, delivery.envelope.type)


class _Consumer:
    """Takes the deliveries of one queue out of all databases and runs its handler."""

    def __init__(
        self,
        subscription: Subscription,
        handler: Handler,
        databases: Mapping[str, Database],
        delays: Sequence[float],
        left: Callable[[_Consumer], None],
    ) -> None:
        self.subscription = subscription
        self.handler = handler
        self._databases = databases
        self._delays = delays
        self._left = left
        self._running: dict[asyncio.Task[None], tuple[Database, int]] = {}
        self._loop = Looper(f"consumer of {subscription.queue}", self._step, 3600)
        self.wake = self._loop.wake

    def start(self) -> None:
        self._loop.start()

    async def stop(self, grace: float) -> None:
        self._left(self)
        await self._loop.stop()
        if self._running and grace > 0:
            await asyncio.wait(self._running, timeout=grace)
        unfinished = dict(self._running)
        await end(*unfinished)
        for db, delivery_id in unfinished.values():
            # Given back without counting the attempt: it was not the listener's fault.
            await db.fetch(
                "UPDATE orion_deliveries SET claimed_until_ms = 0, attempts = attempts - 1 "
                "WHERE id = $1 AND state = 'ready'",
                delivery_id,
            )

    async def _step(self) -> bool:
        claimed = 0
        for db in self._databases.values():
            free = self.subscription.concurrency - len(self._running)
            if free <= 0:
                return False
            for row in await self._claim(db, free):
                task = spawn(self._run(db, row), f"listener {self.subscription.queue}")
                self._running[task] = (db, row["id"])
                task.add_done_callback(self._finished)
                claimed += 1
        return claimed > 0

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            # Its own database was away: the row stays claimed and is taken again when the claim runs out.
            log.warning("the outcome of a delivery to %s could not be stored: %s", self.subscription.queue, error)
        self.wake()

    async def _claim(self, db: Database, limit: int) -> list[dict[str, Any]]:
        now = db.dialect.now_ms
        ready = f"queue = $1 AND state = 'ready' AND due_ms <= {now} AND claimed_until_ms <= {now}"
        # A read costs microseconds, a claim a durable commit: look first.
        if not await db.fetch(
            f"SELECT 1 AS found FROM orion_deliveries WHERE {ready} LIMIT 1", self.subscription.queue
        ):
            return []
        claimed = await db.fetch(
            f"UPDATE orion_deliveries SET attempts = attempts + 1, claimed_until_ms = {now} + {LEASE_MS} "
            f"WHERE id IN (SELECT id FROM orion_deliveries WHERE {ready} ORDER BY id LIMIT {limit} "
            f"{db.dialect.skip_locked}) RETURNING id, event_id, attempts",
            self.subscription.queue,
        )
        if not claimed:
            return []
        events = await db.fetch(
            f"SELECT {COLUMNS} FROM orion_outbox WHERE event_id IN ({numbered(len(claimed))})",
            *(row["event_id"] for row in claimed),
        )
        by_id = {row["event_id"]: row for row in events}
        return [{**row, "event": by_id[row["event_id"]]} for row in sorted(claimed, key=lambda row: row["id"])]

    async def _run(self, db: Database, row: dict[str, Any]) -> None:
        item = envelope(row["event"])
        attempt = row["attempts"]
        last = len(self._delays) + 1
        try:
            if attempt > last:
                raise Reject(f"its process ended in each of {attempt - 1} attempts")
            await self.handler(Delivery(item, attempt, child_traceparent(item.started)))
        except Exception as error:
            await self._failed(db, row["id"], attempt, error, dead=isinstance(error, Reject) or attempt >= last)
        else:
            await db.fetch(
                f"UPDATE orion_deliveries SET state = 'done', claimed_until_ms = 0, done_ms = {db.dialect.now_ms} "
                "WHERE id = $1",
                row["id"],
            )

    async def _failed(self, db: Database, delivery_id: int, attempt: int, error: Exception, *, dead: bool) -> None:
        now = db.dialect.now_ms
        delay = 0.0 if dead else self._delays[attempt - 1]
        await db.fetch(
            f"UPDATE orion_deliveries SET state = $1, due_ms = {now} + {int(delay * 1000)}, claimed_until_ms = 0, "
            f"first_failed_ms = COALESCE(first_failed_ms, {now}), last_failed_ms = {now}, error_class = $2, "
            "error_message = $3 WHERE id = $4",
            "dead" if dead else "ready",
            type(error).__name__,
            str(error)[:2000],
            delivery_id,
        )
        if dead:
            log.error("%s gave up after %d attempts: %s", self.subscription.queue, attempt, error)
        else:
            asyncio.get_running_loop().call_later(delay, self.wake)
