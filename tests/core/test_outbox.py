"""What a transaction tells leaves after its commit, and only then; nothing the broker does loses it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from core_store import (
    Broker,
    OrderNoted,
    OrderPlaced,
    OrderWanted,
    both,
    make_table,
    outbox_of,
    postgres_store,
    sqlite_store,
)

from orion_core.background import Looper
from orion_core.context import Actor, Context, use
from orion_core.contracts.auth import SessionRevoked
from orion_core.events import Envelope
from orion_core.ids import new_id
from orion_core.outbox import BATCH, Relay
from orion_core.ports.bus import Disconnected, Published
from orion_core.ports.database import OPEN_TRANSACTION, Database
from orion_core.testing.engines import until
from orion_core.testing.orion import Orion


async def place(db: Database, *orders: str) -> None:
    """Tell `OrderPlaced` of each of `orders`, in one transaction each."""
    outbox = outbox_of(db)
    for order in orders:
        async with db.transaction():
            await outbox.publish(OrderPlaced(order))


async def kept(db: Database) -> list[dict[str, Any]]:
    """All rows of the outbox, oldest first."""
    return await db.fetch("SELECT * FROM orion_outbox ORDER BY position")


def relay_of(db: Database, broker: Broker) -> Relay:
    return Relay("shop", db, broker, 3600)


# Telling


@both
async def test_an_event_is_kept_if_and_only_if_its_transaction_commits(store: Any) -> None:
    """E1: neither the row nor the number survives a rollback."""
    async with store() as db:
        outbox = outbox_of(db)
        with contextlib.suppress(ZeroDivisionError):
            async with db.transaction():
                await outbox.publish(OrderPlaced("a"))
                raise ZeroDivisionError
        assert await kept(db) == []
        assert await db.fetch("SELECT * FROM orion_sequences") == []
        await place(db, "a")
        assert [row["sequence"] for row in await kept(db)] == [1]


async def test_publishing_outside_a_transaction_is_refused() -> None:
    async with sqlite_store() as db:
        with pytest.raises(RuntimeError, match="inside a transaction"):
            await outbox_of(db).publish(OrderPlaced("a"))


async def test_an_event_of_another_owner_is_refused() -> None:
    async with sqlite_store() as db, db.transaction():
        with pytest.raises(TypeError, match="shop may not publish"):
            await outbox_of(db).publish(SessionRevoked(new_id(), new_id(), "x"))


async def test_the_relay_is_woken_once_the_commit_is_there() -> None:
    """ET3: never before."""
    async with sqlite_store() as db:
        outbox, woken = outbox_of(db), []
        outbox.wakes(lambda: woken.append(True))
        with contextlib.suppress(ZeroDivisionError):
            async with db.transaction():
                await outbox.publish(OrderPlaced("a"))
                raise ZeroDivisionError
        async with db.transaction():
            await outbox.publish(OrderPlaced("a"), OrderPlaced("b"))
            assert woken == []
        assert woken == [True]


@both
async def test_events_of_one_aggregate_are_numbered_without_gaps(store: Any) -> None:
    """EO2: by transactions that run at once, of which some roll back."""
    async with store() as db:
        outbox = outbox_of(db)

        async def tell(number: int) -> None:
            with contextlib.suppress(ZeroDivisionError):
                async with db.transaction():
                    await outbox.publish(OrderPlaced(f"order-{number % 3}", number), OrderNoted())
                    if number % 4 == 0:
                        raise ZeroDivisionError

        await asyncio.gather(*(tell(number) for number in range(40)))
        rows = [row for row in await kept(db) if row["name"] == "order.placed"]
        assert len(rows) == 30
        for subject in {row["subject"] for row in rows}:
            # In the order of their positions, too: that is how they leave.
            numbers = [row["sequence"] for row in rows if row["subject"] == subject]
            assert numbers == list(range(1, len(numbers) + 1))


async def test_an_event_without_an_aggregate_is_its_own_and_leaves_no_counter() -> None:
    async with sqlite_store() as db:
        outbox = outbox_of(db)
        for _ in range(3):
            async with db.transaction():
                await outbox.publish(OrderNoted())
        assert [(row["sequence"], row["subject"] == str(row["event_id"])) for row in await kept(db)] == [(1, True)] * 3
        assert await db.fetch("SELECT * FROM orion_sequences") == []


@both
async def test_an_event_carries_the_context_in_which_it_was_told(store: Any) -> None:
    """E9, ES4 and ES5."""
    context = Context(
        Actor("service", "shop", originator="user:1"),
        correlation_id="chain",
        causation_id="cause",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        tracestate="vendor=1",
    )
    async with store() as db:
        with use(context):
            await place(db, "a")
        broker = Broker()
        await relay_of(db, broker).step()
        (item,) = broker.taken
        assert (item.correlation_id, item.causation_id, item.originator) == ("chain", "cause", "user:1")
        assert (item.started, item.tracestate) == (context.traceparent, "vendor=1")
        assert (item.name, item.version, item.source, item.subject) == ("order.placed", 1, "/orion/shop", "a")
        assert (json.loads(item.data), item.heard, item.sequence) == ({"order": "a", "total": 0}, False, 1)


# Leaving


@both
async def test_only_what_the_broker_confirmed_counts_as_published(store: Any) -> None:
    """E3 and ET4: the others stay, are tried again later, and hold up nobody."""
    outcomes = [Published.CONFIRMED, Published.REFUSED, Published.UNROUTABLE, Published.UNKNOWN, Published.CONFIRMED]
    async with store() as db:
        await place(db, *"abcde")
        broker = Broker(lambda items: outcomes[: len(items)])
        await relay_of(db, broker).step()
        rows = {row["subject"]: row for row in await kept(db)}
        assert [subject for subject, row in rows.items() if row["published_ms"] is not None] == ["a", "e"]
        assert [rows[each]["attempts"] for each in "bcd"] == [1, 1, 0]
        assert [rows[each]["last_error"] for each in "bcd"] == ["refused", "unroutable", ""]
        # What may have arrived goes at once, what was not taken waits a little.
        broker.answers = lambda items: [Published.CONFIRMED] * len(items)
        await relay_of(db, broker).step()
        assert [item.subject for item in broker.taken] == ["a", "e", "d"]

        async def all_gone() -> bool:
            await relay_of(db, broker).step()
            return all(row["published_ms"] is not None for row in await kept(db))

        await until(all_gone, "the postponed ones")
        assert Counter(item.subject for item in broker.taken) == Counter("abcde")


@both
async def test_two_relays_never_send_the_same_row(store: Any) -> None:
    """E3a: with a broker slow enough for them to meet."""

    class Slow(Broker):
        async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Published]:
            await asyncio.sleep(0.01)
            return await super().publish(envelopes)

    async with store() as db:
        outbox = outbox_of(db)
        for start in range(0, 300, 50):
            async with db.transaction():
                await outbox.publish(*(OrderPlaced(str(number)) for number in range(start, start + 50)))
        broker = Slow()

        async def carry() -> None:
            relay = relay_of(db, broker)
            while await relay.step():
                pass

        await asyncio.gather(*(carry() for _ in range(4)))
        await carry()
        assert Counter(item.subject for item in broker.taken) == Counter(map(str, range(300)))


@both
async def test_a_broker_that_is_away_costs_no_attempt(store: Any) -> None:
    """ET6: neither when it is known to be away, nor when that shows in the middle."""

    def lost(_: Sequence[Envelope]) -> Sequence[Published]:
        raise Disconnected("gone")

    async with store() as db:
        await place(db, "a")
        broker = Broker(away=True)
        assert await relay_of(db, broker).step() is False
        assert broker.asked == 0
        broker.away, broker.answers = False, lost
        assert await relay_of(db, broker).step() is False
        (row,) = await kept(db)
        assert (row["attempts"], row["claimed_until_ms"], row["published_ms"]) == (0, 0, None)
        broker.answers = Broker().answers
        await relay_of(db, broker).step()
        assert [item.subject for item in broker.taken] == ["a"]


@both
async def test_a_publish_that_fails_or_is_cancelled_frees_its_rows(store: Any) -> None:
    def fails(_: Sequence[Envelope]) -> Sequence[Published]:
        raise ZeroDivisionError

    class Hanging(Broker):
        async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Published]:
            if not envelopes:
                return []
            self.asked += 1
            await asyncio.Event().wait()
            raise AssertionError

    async with store() as db:
        await place(db, "a")
        with pytest.raises(ZeroDivisionError):
            await relay_of(db, Broker(fails)).step()
        hanging = Hanging()
        step = asyncio.create_task(relay_of(db, hanging).step())
        await until(lambda: _is(hanging.asked == 1), "the publish")
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        (row,) = await kept(db)
        assert (row["attempts"], row["claimed_until_ms"]) == (0, 0)


@both
async def test_no_transaction_is_open_while_the_broker_is_asked(store: Any) -> None:
    """ET4: a broker that takes its time holds up nobody who writes."""
    async with store() as db:
        await make_table(db)
        await place(db, "a")

        class Writing(Broker):
            async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Published]:
                assert OPEN_TRANSACTION.get() is None
                async with db.transaction():
                    await db.fetch("INSERT INTO effects (what) VALUES ('written')")
                return await super().publish(envelopes)

        broker = Writing()
        await relay_of(db, broker).step()
        assert len(broker.taken) == 1


async def test_what_commits_late_is_not_passed_over() -> None:
    """ET7 and ET3: A takes the first position, B commits first, the relay runs, A commits."""
    async with postgres_store() as db:
        outbox, broker = outbox_of(db), Broker()
        told, may_commit = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            async with db.transaction():
                await outbox.publish(OrderPlaced("a"))
                told.set()
                await may_commit.wait()

        slow = asyncio.create_task(first())
        await told.wait()
        relay = relay_of(db, broker)
        assert await relay.step() is False
        await place(db, "b")
        await relay.step()
        assert [item.subject for item in broker.taken] == ["b"]
        may_commit.set()
        await slow
        await relay.step()
        assert [item.subject for item in broker.taken] == ["b", "a"]
        assert [row["subject"] for row in await kept(db)] == ["a", "b"]


async def test_a_full_batch_with_a_failure_in_it_does_not_end_the_round() -> None:
    async with sqlite_store() as db:
        outbox = outbox_of(db)
        async with db.transaction():
            await outbox.publish(OrderWanted("x"), *(OrderPlaced(str(number)) for number in range(BATCH)))
        broker = Broker(
            lambda items: [Published.UNROUTABLE if item.heard else Published.CONFIRMED for item in items],
        )
        relay = relay_of(db, broker)
        assert await relay.step() is True
        assert await relay.step() is False
        assert len(broker.taken) == BATCH


# The loop around it


async def test_a_stopped_loop_finishes_its_step_and_begins_no_other() -> None:
    """E14: a claim that is broken off would wait for the end of its lease."""
    begun, may_end, steps = asyncio.Event(), asyncio.Event(), []

    async def step() -> bool:
        begun.set()
        await may_end.wait()
        steps.append("done")
        return True

    loop = Looper("test", step, 3600)
    loop.start()
    await begun.wait()
    stopping = asyncio.create_task(loop.stop())
    await asyncio.sleep(0)
    may_end.set()
    await stopping
    assert steps == ["done"]


async def test_a_loop_cancels_a_step_that_does_not_end() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def step() -> bool:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return True

    loop = Looper("test", step, 3600)
    loop.start()
    async with asyncio.timeout(10):
        await begun.wait()
        await loop.stop(0)
    assert cancelled.is_set()


async def test_a_loop_outlives_whatever_a_step_raises() -> None:
    outcomes = [ZeroDivisionError(), ValueError(), None]
    done = asyncio.Event()

    async def step() -> bool:
        error = outcomes.pop(0) if outcomes else None
        if error:
            raise error
        done.set()
        return False

    loop = Looper("test", step, 0.001)
    loop.start()
    await asyncio.wait_for(done.wait(), 20)
    await loop.stop()


# All of it together


async def test_the_id_of_a_request_reaches_whatever_comes_of_it(orion: Orion) -> None:
    """E9: outbox, listener, job and mail, over three services."""
    headers = {
        "x-request-id": "checkout-4711",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    body = {"email": "ada@x.org", "password": "correct horse battery staple"}
    answer = await orion.http.post("/api/v1/auth/register", json=body, headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (201, "checkout-4711")
    await orion.settle()
    databases = orion.platform.databases  # type: ignore[attr-defined]
    (told,) = await databases["auth"].fetch("SELECT * FROM orion_outbox WHERE name = 'user.registered'")
    assert told["correlation_id"] == "checkout-4711"
    assert told["started"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    notifications = databases["notifications"]
    (notice,) = await notifications.fetch("SELECT correlation_id, event_id FROM notifications")
    assert (notice["correlation_id"], notice["event_id"]) == ("checkout-4711", str(told["event_id"]))
    (mailing,) = await notifications.fetch("SELECT * FROM orion_jobs WHERE type = 'notifications.send_mail'")
    assert (mailing["correlation_id"], mailing["causation_id"]) == ("checkout-4711", str(told["event_id"]))
    assert mailing["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    (sent,) = await notifications.fetch("SELECT * FROM orion_outbox WHERE name = 'notification.sent'")
    assert sent["correlation_id"] == "checkout-4711"
    # A job is no event: what it tells was caused by the event that led to the job.
    assert sent["causation_id"] == str(told["event_id"])
    (mail,) = await orion.mails("ada@x.org")
    assert mail["X-Correlation-ID"] == "checkout-4711"


async def _is(truth: bool) -> bool:
    return truth
