"""Payloads of a person who is erased are blanked in core's tables, those still needed once they are over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from core_store import Broker, Opens, both, sqlite_store

from orion_core import codec
from orion_core import erasure as erasure_module
from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.composition import hears
from orion_core.context import Actor, Context, acting, use
from orion_core.contracts.users import ProfileChanged, UserErased, Users
from orion_core.erasure import Erasure, blank
from orion_core.ids import new_id
from orion_core.inbox import receive
from orion_core.jobs import Retry, job
from orion_core.outbox import Outbox, Relay
from orion_core.plugin import discover
from orion_core.ports.bus import Bus, Delivery
from orion_core.ports.database import Database
from orion_core.queue import JobQueue
from orion_core.testing.clock import MovableClock
from orion_core.testing.suites.bus_kit import an_event

ADA, GRACE = new_id(), new_id()


class Desk:
    """Has a job that holds a text."""

    @job()
    async def write(self, text: str) -> None:
        """Nothing."""


async def tell(db: Database, user_id: UUID, *, by: str = "system") -> None:
    """A profile of the person, whose name is ``secret``, in the outbox."""
    outbox = Outbox("users", Users, db, MovableClock())
    kind, _, name = by.partition(":")
    with acting(Actor("user" if kind == "user" else "system", name)):
        async with db.transaction():
            await outbox.publish(ProfileChanged(user_id, "secret", "", "", "", 2, ("name",)))


async def publish(db: Database) -> None:
    broker: Bus = Broker()  # type: ignore[assignment]  # as much of a bus as a relay sees
    await Relay("users", db, broker, 1.0).step()


async def payloads(db: Database) -> list[tuple[str, bool]]:
    """Of whom each outbox row is and whether it still has its payload."""
    found = await db.fetch("SELECT subject, data FROM orion_outbox ORDER BY position")
    return [(row["subject"], "secret" in row["data"]) for row in found]


async def forget(db: Database, user_id: UUID = ADA) -> int:
    async with db.transaction():
        return await blank(db, user_id)


async def jobs(db: Database) -> list[tuple[str, str, str]]:
    found = await db.fetch("SELECT args, error_message, history FROM orion_jobs ORDER BY id")
    return [(row["args"], row["error_message"], row["history"]) for row in found]


@asynccontextmanager
async def desk(db: Database) -> AsyncIterator[tuple[JobQueue, Desk]]:
    queue, service = JobQueue("desk", db, MovableClock()), Desk()
    queue.serve(service)
    yield queue, service


@both
async def test_published_events_about_and_by_the_person_lose_their_payload(store: Opens) -> None:
    """U36: also those about others, which the person caused."""
    async with store() as db:
        await tell(db, ADA)
        await tell(db, GRACE)
        await tell(db, GRACE, by=f"user:{ADA}")
        await publish(db)

        assert await forget(db) == 0

        assert await payloads(db) == [(str(ADA), False), (str(GRACE), True), (str(GRACE), False)]
        rows = await db.fetch("SELECT name, sequence FROM orion_outbox ORDER BY position")
        assert [(row["name"], row["sequence"]) for row in rows] == [
            ("user.profile_changed", 1),
            ("user.profile_changed", 1),
            ("user.profile_changed", 2),
        ]


@both
async def test_what_is_not_published_or_not_heard_yet_keeps_its_payload_until_it_is(store: Opens) -> None:
    """U36: nobody must be given an empty event."""
    async with store() as db:
        await tell(db, ADA)
        assert (await forget(db), await payloads(db)) == (1, [(str(ADA), True)])

        await publish(db)
        await db.fetch(
            "INSERT INTO orion_deliveries (event_id, position, queue, state, attempts, due_ms, claimed_until_ms, "
            "error_class, error_message) SELECT event_id, position, 'desk.write', 'ready', 1, 0, 0, '', 'secret' "
            "FROM orion_outbox"
        )
        assert (await forget(db), await payloads(db)) == (1, [(str(ADA), True)])

        await db.fetch("UPDATE orion_deliveries SET state = 'dead'")
        assert (await forget(db), await payloads(db)) == (0, [(str(ADA), False)])
        assert [row["error_message"] for row in await db.fetch("SELECT error_message FROM orion_deliveries")] == [""]


@both
async def test_jobs_that_are_over_lose_their_arguments_and_errors(store: Opens) -> None:
    """U36: found by the arguments, and by who set them off."""
    async with store() as db, desk(db) as (queue, service):
        await queue.enqueue(service.write, f"a secret of {ADA}")
        with use(Context(actor=Actor("user", str(ADA)))):
            await queue.enqueue(service.write, "secret")
        await queue.enqueue(service.write, "a secret of others")
        assert await forget(db) == 2
        assert all("secret" in args for args, _, _ in await jobs(db))

        await db.fetch("UPDATE orion_jobs SET state = 'dead', error_message = 'secret', history = '[\"secret\"]'")
        assert await forget(db) == 0

        blank_row = ("{}", "", "[]")
        assert await jobs(db) == [blank_row, blank_row, ('{"text": "a secret of others"}', "secret", '["secret"]')]


@both
async def test_what_a_client_called_its_request_goes_as_well(store: Opens) -> None:
    """U36: also from jobs that follow from news of the person and do not name them."""
    async with store() as db, desk(db) as (queue, service):
        with use(Context(correlation_id="secret", tracestate="x=secret")):
            await queue.enqueue(service.write, "")
            await tell(db, ADA)
        await queue.enqueue(service.write, "")
        await publish(db)
        await db.fetch("UPDATE orion_jobs SET state = 'done'")

        await forget(db)

        assert "secret" not in repr(await db.fetch("SELECT * FROM orion_outbox"))
        chains = [row["correlation_id"] for row in await db.fetch("SELECT correlation_id FROM orion_jobs ORDER BY id")]
        assert (chains[0], bool(chains[1])) == ("", True)


async def test_files_of_sqlite_do_not_show_what_was_removed() -> None:
    """U36: neither the journal nor free pages."""
    async with sqlite_store() as db:
        assert isinstance(db, SqliteDatabase)
        files = [db.path, db.path.with_name(f"{db.path.name}-wal")]
        for number in range(60):
            await tell(db, ADA if number % 2 else GRACE)
        await db.fetch("CREATE TABLE notes (person TEXT, note TEXT)")
        for size in range(0, 20_000, 400):
            await db.fetch("INSERT INTO notes VALUES ($1, $2)", str(ADA), "secret" + "x" * size)
            await db.fetch("INSERT INTO notes VALUES ($1, $2)", str(GRACE), "y" * size)
        await publish(db)
        await db.fetch(db.dialect.scrub)
        assert b"secret" in files[0].read_bytes()

        await db.fetch("DELETE FROM notes WHERE person = $1", str(ADA))
        await forget(db, GRACE)
        await Erasure(db, JobQueue("desk", db, MovableClock())).orion_forget_rest(ADA)

        assert [file.name for file in files if b"secret" in file.read_bytes()] == []


@both
async def test_the_news_of_the_erasure_itself_stay(store: Opens) -> None:
    """U36: others may not have heard them yet, and they hold an id alone."""
    async with store() as db:
        clock = MovableClock()
        async with db.transaction():
            await Outbox("users", Users, db, clock).publish(UserErased(ADA, clock.now()))
        await publish(db)

        assert await forget(db) == 0
        assert str(ADA) in (await db.fetch("SELECT data FROM orion_outbox"))[0]["data"]


@both
async def test_core_hears_of_an_erasure_and_looks_again_later(store: Opens) -> None:
    """U36: what was needed at first, and what the erasure itself led to."""
    async with store() as db, desk(db) as (queue, service):
        await tell(db, ADA)
        erasure = Erasure(db, queue)
        queue.serve(service, erasure.work("desk"))
        [listener] = erasure_module.hears("desk")
        handle = receive(erasure, "desk", listener, db)
        told = an_event("user.erased", data=codec.dumps(UserErased(ADA, MovableClock().now())))

        for _ in range(2):
            await handle(Delivery(told, 1, Context().traceparent))

        assert listener.queue == "desk.orion_forget_person"
        [again] = await db.fetch("SELECT type, args, causation_id FROM orion_jobs")
        assert (again["type"], again["args"]) == ("desk.orion_forget_rest", f'{{"user_id": "{ADA}"}}')
        with use(Context(causation_id=again["causation_id"])):
            await tell(db, GRACE)  # what another listener of the same news might lead to
            with pytest.raises(Retry, match=r"2 payload\(s\)"):
                await erasure.orion_forget_rest(ADA)
            await publish(db)
            await erasure.orion_forget_rest(ADA)
        assert await payloads(db) == [(str(ADA), False), (str(GRACE), False)]


def test_every_service_with_a_database_hears_of_erasures() -> None:
    """U36."""
    heard: dict[str, Any] = {
        name: [listener.queue for listener in hears(plugin) if "user.erased" in listener.names]
        for name, plugin in discover().plugins.items()
    }

    assert "auth.orion_forget_person" in heard["auth"]
    assert heard["gateway"] == []
