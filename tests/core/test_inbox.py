"""An event changes a service once, however often and however concurrently it is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
from core_store import OrderNoted, OrderPlaced, both, did, effects, make_table, outbox_of, sqlite_store

from orion_core.background import cancelled_itself
from orion_core.context import Context, current, new_traceparent
from orion_core.events import Envelope, Events, Listener, listeners, on, on_all
from orion_core.inbox import IMMEDIATE, receive
from orion_core.jobs import Jobs, job
from orion_core.ports.bus import Delivery, Handler, Reject
from orion_core.ports.check import Check
from orion_core.ports.database import Database, DatabaseUnavailable, Dialect, Transaction
from orion_core.queue import JobQueue
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import until
from orion_core.testing.suites.bus_kit import an_event

TRIES = 1 + len(IMMEDIATE)


@attrs.define
class Parcels:
    """Sends a parcel for every order; raises as often as it is told to."""

    db: Database
    events: Events | None = None
    jobs: Jobs | None = None
    failures: list[Exception] = attrs.field(factory=list)
    calls: int = 0
    seen: Context | None = None

    @on(OrderPlaced)
    async def pack(self, event: OrderPlaced) -> None:
        """Writes, and fails after that."""
        self.calls += 1
        self.seen = current()
        await did(self.db, event.order)
        if self.events is not None and self.jobs is not None:
            await self.events.publish(OrderNoted(event.order))
            await self.jobs.enqueue(self.send, event.order)
        if self.failures:
            raise self.failures.pop(0)

    @on(OrderPlaced, broadcast=True)
    async def refresh(self, event: OrderPlaced) -> None:
        """Only what is kept in memory."""
        self.calls += 1

    @on_all()
    async def watch(self, envelope: Envelope) -> None:
        """Everything."""
        await did(self.db, envelope.name)

    @job()
    async def send(self, order: str) -> None:
        """Never run here."""


def handler(service: Parcels, method: str = "pack", db: Database | None = None) -> Handler:
    found: dict[str, Listener] = {each.method: each for each in listeners(Parcels, "parcels")}
    return receive(service, "parcels", found[method], db or service.db)


def placed(order: str = "a", **changes: Any) -> Delivery:
    fields = {"data": f'{{"order": "{order}", "total": 1}}', "subject": order, **changes}
    return Delivery(an_event("order.placed", **fields), 1, new_traceparent())


async def inbox(db: Database) -> list[dict[str, Any]]:
    return await db.fetch("SELECT queue, event_id FROM orion_inbox ORDER BY id")


@asynccontextmanager
async def parcels(store: Any = sqlite_store, *failures: Exception) -> AsyncIterator[Parcels]:
    async with store() as db:
        await make_table(db)
        yield Parcels(db, failures=list(failures))


@both
async def test_ten_deliveries_at_once_have_one_effect(store: Any) -> None:
    """E4."""
    async with parcels(store) as service:
        handle, delivery = handler(service), placed()
        await asyncio.gather(*(handle(attrs.evolve(delivery, attempt=number + 1)) for number in range(10)))
        assert await effects(service.db) == ["a"]
        assert await inbox(service.db) == [{"queue": "parcels.pack", "event_id": delivery.envelope.id}]
        assert service.calls == 1


@both
async def test_ten_events_at_once_have_ten_effects(store: Any) -> None:
    async with parcels(store) as service:
        handle = handler(service)
        await asyncio.gather(*(handle(placed(f"order-{number}")) for number in range(10)))
        assert len(await effects(service.db)) == len(await inbox(service.db)) == 10


@both
async def test_a_repeat_after_a_crash_has_no_effect(store: Any) -> None:
    """ET2: the relay died between the broker's answer and its own note of it."""
    async with parcels(store) as service:
        delivery = placed()
        await handler(service)(delivery)
        await handler(service)(delivery)
        assert await effects(service.db) == ["a"]


@both
async def test_two_listeners_of_one_event_do_not_take_it_from_each_other(store: Any) -> None:
    async with parcels(store) as service:
        delivery = placed()
        await handler(service)(delivery)
        await handler(service, "watch")(delivery)
        assert await effects(service.db) == ["a", "order.placed"]


@both
async def test_a_listener_that_raises_leaves_nothing_and_the_next_attempt_succeeds(store: Any) -> None:
    """E4: neither row nor effect, nor what it told or enqueued."""
    async with parcels(store, *(ZeroDivisionError() for _ in range(TRIES))) as service:
        db = service.db
        service.events, queue = outbox_of(db), JobQueue("parcels", db, MovableClock())
        service.jobs = queue
        handle, delivery = handler(service), placed()
        with pytest.raises(ZeroDivisionError):
            await handle(delivery)
        assert service.calls == TRIES
        for table in ("effects", "orion_inbox", "orion_outbox", "orion_jobs", "orion_sequences"):
            assert await db.fetch(f"SELECT * FROM {table}") == []
        await handle(attrs.evolve(delivery, attempt=2))
        for table in ("effects", "orion_inbox", "orion_outbox", "orion_jobs"):
            assert len(await db.fetch(f"SELECT * FROM {table}")) == 1


@both
async def test_each_try_in_a_delivery_is_a_transaction_of_its_own(store: Any) -> None:
    """ET4: a failed statement would spoil the rest on PostgreSQL."""
    async with parcels(store) as service:

        @attrs.define
        class Clumsy(Parcels):
            @on(OrderPlaced)
            async def pack(self, event: OrderPlaced) -> None:
                self.calls += 1
                await did(self.db, event.order)
                if self.calls < TRIES:
                    await self.db.fetch("SELECT * FROM no_such_table")

        clumsy = Clumsy(service.db)
        await handler(clumsy)(placed())
        assert await effects(service.db) == ["a"]
        assert clumsy.calls == TRIES


@pytest.mark.parametrize("data", ["", "{", "[]", "null", "{}", '{"order": 1}', '{"order": "a", "total": "many"}'])
async def test_data_that_does_not_keep_the_contract_is_rejected_at_once(data: str) -> None:
    """E7."""
    async with parcels() as service:
        with pytest.raises(Reject, match="does not keep its contract"):
            await handler(service)(placed(data=data))
        assert (service.calls, await inbox(service.db)) == (0, [])


async def test_fields_that_came_later_do_no_harm() -> None:
    """E7 and E7a."""
    async with parcels() as service:
        await handler(service)(placed(data='{"order": "a", "currency": "EUR", "lines": [{"x": 1}]}'))
        assert await effects(service.db) == ["a"]


@pytest.mark.parametrize("changes", [{"version": 2}, {"name": "order.cancelled"}])
async def test_what_a_listener_does_not_know_is_passed_over(changes: dict[str, Any]) -> None:
    """E7."""
    async with parcels() as service:
        delivery = placed()
        await handler(service)(attrs.evolve(delivery, envelope=attrs.evolve(delivery.envelope, **changes)))
        assert (service.calls, await inbox(service.db)) == (0, [])


async def test_a_listener_that_rejects_is_not_tried_again() -> None:
    async with parcels(sqlite_store, Reject("never")) as service:
        with pytest.raises(Reject, match="never"):
            await handler(service)(placed())
        assert (service.calls, await inbox(service.db)) == (1, [])


async def test_a_listener_acts_as_its_service_for_whoever_set_off_the_chain() -> None:
    """E9 and ES4."""
    async with parcels() as service:
        delivery = placed(correlation_id="chain", originator="user:1", tracestate="vendor=1")
        await handler(service)(delivery)
        seen = service.seen
        assert seen is not None
        assert (seen.actor.name, seen.originator) == ("service:parcels", "user:1")
        assert (seen.correlation_id, seen.causation_id) == ("chain", str(delivery.envelope.id))
        assert (seen.traceparent, seen.tracestate) == (delivery.traceparent, "vendor=1")


async def test_a_broadcast_runs_every_time_and_leaves_no_row() -> None:
    async with parcels() as service:
        delivery = placed()
        for _ in range(2):
            await handler(service, "refresh")(delivery)
        assert (service.calls, await inbox(service.db)) == (2, [])


@attrs.define
class Flaky:
    """A database that can be away, or that refuses single transactions while it is there."""

    db: Database
    away: bool = False
    refusals: int = 0
    asked: int = 0

    @property
    def dialect(self) -> Dialect:
        return self.db.dialect

    @property
    def engine(self) -> Any:
        return self.db.engine

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        self.asked += 1
        if self.away or self.refusals > 0:
            self.refusals -= 1
            raise DatabaseUnavailable("away")
        return self.db.transaction()

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        return await self.db.fetch(sql, *args)

    async def check(self) -> Check:
        return Check("fail", "away") if self.away else Check("pass")

    async def aclose(self) -> None:
        """Closed by its owner."""


async def test_a_delivery_waits_while_the_database_is_away() -> None:
    """An outage is no failure of the listener: it costs no attempt, however long it lasts."""
    async with parcels() as service:
        flaky = Flaky(service.db, away=True)
        waiting = asyncio.create_task(handler(service, db=flaky)(placed()))

        async def asked() -> bool:
            return flaky.asked > 0

        await until(asked, "the first try")
        assert not waiting.done()
        flaky.away = False
        await waiting
        assert await effects(service.db) == ["a"]


async def test_a_database_that_is_there_and_refuses_counts_as_a_failure() -> None:
    async with parcels() as service:
        flaky = Flaky(service.db, refusals=TRIES)
        with pytest.raises(DatabaseUnavailable):
            await handler(service, db=flaky)(placed())
        await handler(service, db=flaky)(placed())
        assert await effects(service.db) == ["a"]


async def test_whether_a_cancellation_is_ones_own_can_be_told() -> None:
    found: list[bool] = []

    async def work(others: asyncio.Future[None]) -> None:
        try:
            await others
        except asyncio.CancelledError:
            found.append(cancelled_itself())

    loop = asyncio.get_running_loop()
    for whom in ("other", "self"):
        other = loop.create_future()
        task = asyncio.create_task(work(other))
        await asyncio.sleep(0)
        (other if whom == "other" else task).cancel()
        await task
    assert found == [False, True]
