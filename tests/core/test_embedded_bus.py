"""The embedded bus keeps the promises of its port, and survives the end of its process."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from core_store import did, effects, location, make_table, reopened, sqlite_store

from orion_core.adapters.embedded_bus import EmbeddedBus
from orion_core.events import Envelope
from orion_core.housekeeping import purging
from orion_core.outbox import COLUMNS, Relay, envelope
from orion_core.ports.bus import Bus, Delivery, Published, Subscription
from orion_core.ports.database import Database, DatabaseUnavailable
from orion_core.testing.engines import until
from orion_core.testing.suites.bus import RETRY_DELAYS, BusSuite, DeadLetter, Features
from orion_core.testing.suites.bus_kit import Gate, Inbox, an_event

LISTENER = Subscription("users.create_profile", ("user.registered",))
OTHER = Subscription("analytics.count", ("user.registered",))
DELAYS = (0.01, 0.01)
_SPAWN = multiprocessing.get_context("spawn")


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


# The end of its process


async def listen(db: Database, delays: Sequence[float], *, poisoned: bool) -> None:
    """A process with two listeners; the event ``poison`` ends it if `poisoned`, others take a moment."""

    async def profile(delivery: Delivery) -> None:
        if delivery.envelope.data == '"poison"' and poisoned:
            os._exit(9)
        # Long enough to be under way when the process ends.
        await asyncio.sleep(0.05)
        await did(db, f"profile {delivery.envelope.data}")

    async def count(delivery: Delivery) -> None:
        await did(db, f"count {delivery.envelope.data}")

    bus = EmbeddedBus({"auth": db}, retry_delays=delays, interval=0.02)
    await bus.declare([LISTENER, OTHER], ["user"])
    relay = Relay("auth", db, bus, 0.02)
    relay.start()
    await bus.subscribe(LISTENER, profile)
    await bus.subscribe(OTHER, count)

    async def idle() -> bool:
        found = await db.fetch(
            "SELECT (SELECT COUNT(*) FROM orion_deliveries WHERE state = 'ready') "
            "+ (SELECT COUNT(*) FROM orion_outbox WHERE published_ms IS NULL) AS waiting"
        )
        return bool(found[0]["waiting"] == 0)

    await until(idle, "the end of all deliveries")
    await relay.stop()
    await bus.aclose()


def _listen(where: str) -> None:
    async def run() -> None:
        async with reopened(where) as db:
            await listen(db, DELAYS, poisoned=True)

    asyncio.run(run())


async def a_life(db: Database) -> int | None:
    """Listen in a process of its own until all is done or it ends itself; returns its exit code."""
    process = _SPAWN.Process(target=_listen, args=(location(db),))
    process.start()
    await asyncio.to_thread(process.join, 60)
    code = process.exitcode
    process.kill()
    process.join()
    process.close()
    return code


async def deliveries(db: Database) -> dict[str, dict[str, Any]]:
    """The deliveries to `LISTENER` by what their events carry."""
    rows = await db.fetch(
        "SELECT o.data AS what, d.state AS state, d.attempts AS attempts, d.error_class AS error_class, "
        "d.error_message AS error_message, d.first_failed_ms AS first_failed_ms, d.last_failed_ms AS last_failed_ms "
        "FROM orion_deliveries d JOIN orion_outbox o ON o.event_id = d.event_id WHERE d.queue = $1",
        LISTENER.queue,
    )
    return {row["what"]: row for row in rows}


async def test_what_ends_its_process_becomes_a_dead_letter_and_nothing_beside_it_does() -> None:
    """E6 and E11: the attempt is counted first; its neighbours are not punished for it."""
    async with sqlite_store() as db:
        await make_table(db)
        # The poison is the last: the others are under way whenever it strikes.
        names = [*(f'"{number}"' for number in range(9)), '"poison"']
        await keep(db, *(an_event(data=name) for name in names))
        lives = [await a_life(db)]
        while lives[-1] == 9 and len(lives) < 20:
            lives.append(await a_life(db))
        assert lives[-1] == 0
        # Once for each attempt, and once alone.
        assert lives.count(9) == len(DELAYS) + 2
        found = await deliveries(db)
        poison = found.pop('"poison"')
        assert (poison["state"], poison["error_class"]) == ("dead", "Reject")
        assert "its process ended" in poison["error_message"]
        assert poison["first_failed_ms"] <= poison["last_failed_ms"]
        assert {row["state"] for row in found.values()} == {"done"}
        done = [f"profile {name}" for name in names[:-1]] + [f"count {name}" for name in names]
        assert set(await effects(db)) == set(done)


async def test_a_delivery_that_was_under_way_in_too_many_ends_is_not_lost() -> None:
    """E6: it gets one run with nothing beside it."""
    async with sqlite_store() as db:
        await make_table(db)
        await keep(db, an_event(data='"unlucky"'))
        bus = EmbeddedBus({"auth": db}, retry_delays=DELAYS)
        await bus.declare([LISTENER, OTHER], ["user"])
        rows = await db.fetch(f"SELECT {COLUMNS} FROM orion_outbox")
        await bus.publish([envelope(row) for row in rows])
        await bus.aclose()
        await db.fetch("UPDATE orion_outbox SET published_ms = 1")
        await db.fetch("UPDATE orion_deliveries SET attempts = 50, claimed_until_ms = 9000000000000")
        await listen(db, DELAYS, poisoned=False)
        assert (await deliveries(db))['"unlucky"']["state"] == "done"
        assert await effects(db) == ['count "unlucky"', 'profile "unlucky"']


async def test_what_was_claimed_when_the_process_ended_is_free_at_the_next_start() -> None:
    """E11: rows of the outbox, too."""
    async with sqlite_store() as db:
        await make_table(db)
        await keep(db, an_event(data='"1"'), an_event(data='"2"'))
        await db.fetch("UPDATE orion_outbox SET claimed_until_ms = 9000000000000")
        await listen(db, DELAYS, poisoned=False)
        assert len(await effects(db)) == 4


# Bookkeeping


async def test_an_outbox_row_goes_only_when_every_listener_is_done_with_it() -> None:
    """E11: dead letters keep their event."""
    async with sqlite_store() as db:
        bus = EmbeddedBus({"auth": db}, retry_delays=(), interval=0.02)
        event, fine, failing = an_event(), Inbox(), Inbox(lambda _: ValueError("no"))
        await bus.declare([LISTENER, OTHER], ["user"])
        await keep(db, event)
        await bus.publish([event])
        await db.fetch("UPDATE orion_outbox SET published_ms = 1")
        await bus.subscribe(OTHER, fine)
        await fine.heard(event)
        purge = purging("auth", db)["auth.orion_purge"].run
        week = "UPDATE orion_deliveries SET done_ms = 1 WHERE state = 'done'"
        await db.fetch(week)
        await purge()
        assert len(await db.fetch("SELECT 1 AS one FROM orion_outbox")) == 1
        await bus.subscribe(LISTENER, failing)
        await failing.has(1)

        async def dead() -> bool:
            return [row["state"] for row in (await deliveries(db)).values()] == ["dead"]

        await until(dead, "the dead letter")
        await purge()
        assert len(await db.fetch("SELECT 1 AS one FROM orion_outbox")) == 1
        await db.fetch("UPDATE orion_deliveries SET state = 'done', done_ms = 1")
        await purge()
        assert await db.fetch("SELECT 1 AS one FROM orion_outbox") == []
        await bus.aclose()


async def test_declaring_again_frees_nothing_that_runs() -> None:
    """E4: it would be delivered twice."""
    async with sqlite_store() as db:
        bus, gate, event = EmbeddedBus({"auth": db}, interval=0.01), Gate(), an_event()
        await keep(db, event)
        await bus.declare([LISTENER], ["user"])
        await bus.subscribe(LISTENER, gate)
        await bus.publish([event])
        await gate.has_begun(1)
        await bus.declare([LISTENER, OTHER], ["user"])
        (row,) = await db.fetch("SELECT claimed_until_ms FROM orion_deliveries")
        assert row["claimed_until_ms"] > 0
        gate.open.set()
        await bus.aclose()


async def test_an_outcome_is_stored_once_the_database_is_back() -> None:
    async with sqlite_store() as db:
        away = True

        class Shaky:
            """Refuses to store outcomes for a while."""

            dialect = db.dialect

            async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
                if away and "done_ms" in sql:
                    raise DatabaseUnavailable("away")
                return await db.fetch(sql, *args)

        bus, inbox, event = EmbeddedBus({"auth": Shaky()}, interval=0.01), Inbox(), an_event()  # type: ignore[dict-item]
        await keep(db, event)
        await bus.declare([LISTENER], ["user"])
        await bus.subscribe(LISTENER, inbox)
        await bus.publish([event])
        await inbox.has(1)
        away = False

        async def stored() -> bool:
            return [row["state"] for row in await db.fetch("SELECT state FROM orion_deliveries")] == ["done"]

        await until(stored, "the outcome")
        assert len(inbox.deliveries) == 1
        await bus.aclose()
