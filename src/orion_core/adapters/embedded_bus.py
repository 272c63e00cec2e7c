"""The durable bus of one process: deliveries are rows in the publishers' own databases.

A published event becomes one row per listening queue, in the database of its publisher. Each queue has its own
consumer, so a slow or failing listener delays no other. The attempt is counted before the listener runs: one that ends
its process runs out of attempts like any other. What happened to run beside it is told apart by one last run alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from orion_core.background import Looper, cancelled_itself, end, spawn
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
from orion_core.ports.database import Database, DatabaseUnavailable

log = logging.getLogger("orion.bus")

LEASE_MS = 3_600_000
"""Far longer than a listener may run: it is the next start that frees what a crash left claimed."""
_ALONE = "ProcessEnded"
"""The error class of a delivery that was begun with nothing else running: if its process ended, it was the cause."""


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
        self._turns = _Turns()
        self._closed = False
        self._poll = Looper("embedded bus", self._look, interval)
        self._started = False

    async def declare(self, subscriptions: Sequence[Subscription], families: Sequence[str]) -> None:
        for subscription in subscriptions:
            if not subscription.broadcast:
                self._queues[subscription.queue] = subscription
        if self._started:
            return
        self._started = True
        for db in self._databases.values():
            # One process owns these rows: what a crash left claimed is free again.
            await db.fetch(
                "UPDATE orion_deliveries SET claimed_until_ms = 0 WHERE claimed_until_ms > 0 AND state = 'ready'"
            )
            await db.fetch(
                "UPDATE orion_outbox SET claimed_until_ms = 0 WHERE claimed_until_ms > 0 AND published_ms IS NULL"
            )
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
        consumer = _Consumer(subscription, handler, self._databases, self._delays, self._turns, self._left)
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


class _Turns:
    """Handlers run side by side, or one alone."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._one = asyncio.Lock()
        self._nobody_alone = asyncio.Event()
        self._nobody_alone.set()

    @asynccontextmanager
    async def beside_others(self) -> AsyncIterator[None]:
        await self._nobody_alone.wait()
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            yield
        finally:
            self._running.discard(task)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._one:
            self._nobody_alone.clear()
            try:
                while self._running:
                    await asyncio.wait(self._running)
                yield
            finally:
                self._nobody_alone.set()


class _Consumer:
    """Takes the deliveries of one queue out of all databases and runs its handler."""

    def __init__(
        self,
        subscription: Subscription,
        handler: Handler,
        databases: Mapping[str, Database],
        delays: Sequence[float],
        turns: _Turns,
        left: Callable[[_Consumer], None],
    ) -> None:
        self.subscription = subscription
        self.handler = handler
        self._databases = databases
        self._delays = delays
        self._turns = turns
        self._left = left
        self._running: dict[asyncio.Task[None], tuple[Database, dict[str, Any]]] = {}
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
        for db, row in unfinished.values():
            # Given back without counting the attempt: it was not the listener's fault.
            try:
                await db.fetch(
                    "UPDATE orion_deliveries SET claimed_until_ms = 0, attempts = attempts - 1, "
                    f"error_class = CASE WHEN error_class = '{_ALONE}' THEN '' ELSE error_class END "
                    "WHERE id = $1 AND attempts = $2 AND state = 'ready'",
                    row["id"],
                    row["attempts"],
                )
            except DatabaseUnavailable as error:
                log.warning("a delivery to %s is given back at the next start: %s", self.subscription.queue, error)

    async def _step(self) -> bool:
        claimed = 0
        for db in self._databases.values():
            free = self.subscription.concurrency - len(self._running)
            if free <= 0:
                return False
            for row in await self._claim(db, free):
                task = spawn(self._run(db, row), f"listener {self.subscription.queue}")
                self._running[task] = (db, row)
                task.add_done_callback(self._finished)
                claimed += 1
        return claimed > 0

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("the outcome of a delivery to %s is lost", self.subscription.queue, exc_info=error)
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
            f"{db.dialect.skip_locked}) RETURNING id, event_id, attempts, error_class",
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
        attempt, last = row["attempts"], len(self._delays) + 1
        error: Exception | None = None
        try:
            if attempt <= last:
                async with self._turns.beside_others():
                    await self._handle(row)
            else:
                await self._handle_alone(db, row)
        except asyncio.CancelledError:
            if cancelled_itself():
                raise
            error = RuntimeError("something the listener waited for was cancelled")
        except Exception as raised:
            error = raised
        if error is None:
            await self._end(db, row, f"state = 'done', done_ms = {db.dialect.now_ms}")
        else:
            await self._failed(db, row, error, dead=isinstance(error, Reject) or attempt >= last)

    async def _handle(self, row: dict[str, Any]) -> None:
        item = envelope(row["event"])
        await self.handler(Delivery(item, row["attempts"], child_traceparent(item.started)))

    async def _handle_alone(self, db: Database, row: dict[str, Any]) -> None:
        """The attempts were used up by ends of the process, perhaps the fault of what ran beside it."""
        if row["error_class"] == _ALONE:
            raise Reject(f"its process ended in each of {row['attempts'] - 1} attempts")
        async with self._turns.alone():
            now = db.dialect.now_ms
            await db.fetch(
                f"UPDATE orion_deliveries SET error_class = '{_ALONE}', "
                f"first_failed_ms = COALESCE(first_failed_ms, {now}) WHERE id = $1",
                row["id"],
            )
            await self._handle(row)

    async def _failed(self, db: Database, row: dict[str, Any], error: Exception, *, dead: bool) -> None:
        now = db.dialect.now_ms
        delay = 0.0 if dead else self._delays[row["attempts"] - 1]
        await self._end(
            db,
            row,
            f"state = $3, due_ms = {now} + {int(delay * 1000)}, first_failed_ms = COALESCE(first_failed_ms, {now}), "
            f"last_failed_ms = {now}, error_class = $4, error_message = $5",
            "dead" if dead else "ready",
            type(error).__name__,
            str(error)[:2000],
        )
        if dead:
            log.error("%s gave up after %d attempts: %s", self.subscription.queue, row["attempts"], error)
        else:
            asyncio.get_running_loop().call_later(delay, self.wake)

    async def _end(self, db: Database, row: dict[str, Any], change: str, *args: Any) -> None:
        """Store the outcome, however long the database is away: nobody else would."""
        pause = 0.1
        while True:
            try:
                await db.fetch(
                    f"UPDATE orion_deliveries SET {change}, claimed_until_ms = 0 "
                    "WHERE id = $1 AND attempts = $2 AND state = 'ready'",
                    row["id"],
                    row["attempts"],
                    *args,
                )
            except DatabaseUnavailable as error:
                log.warning("the outcome of a delivery to %s cannot be stored yet: %s", self.subscription.queue, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
            else:
                return
