"""Jobs run after their commit, at least once, one owner at a time, and end as done or dead."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from core_store import both, did, effects, location, make_table, reopened, sqlite_store

from orion_core import queue as queue_module
from orion_core.context import Actor, Context, current, use
from orion_core.errors import Invalid
from orion_core.jobs import Discard, Jobs, Retry, job
from orion_core.ports.database import Database
from orion_core.queue import MAX_ARGS, MAX_TRACEBACK, JobQueue
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import until

DAY = timedelta(days=1)
_SPAWN = multiprocessing.get_context("spawn")


@attrs.define
class Worker:
    """A service with a job of every kind. `raises` is what `work` raises next, `gate` holds `wait` up."""

    db: Database
    jobs: Jobs | None = None
    raises: list[BaseException] = attrs.field(factory=list)
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)
    seen: Context | None = None

    @job(retries=2, base=100, cap=150)
    async def work(self, what: str) -> None:
        self.seen = current()
        if self.raises:
            raise self.raises.pop(0)
        await did(self.db, what)

    @job(retries=3, base=1)
    async def wait(self, what: str) -> None:
        self.begun.set()
        await self.gate.wait()
        await did(self.db, what)

    @job(retries=1, timeout=0.01)
    async def dawdle(self) -> None:
        await asyncio.Event().wait()

    @job(every=DAY)
    async def sweep(self) -> None:
        await did(self.db, "swept")

    @job(retries=1, base=0.01)
    async def die(self) -> None:
        os._exit(9)

    async def no_job(self) -> None:
        """Not marked."""


@attrs.frozen
class Kit:
    """A worker, its queue, and the clock of both."""

    db: Database
    worker: Worker
    queue: JobQueue
    clock: MovableClock

    async def row(self, kind: str = "work") -> dict[str, Any]:
        (row,) = await self.db.fetch("SELECT * FROM orion_jobs WHERE type = $1", f"shop.{kind}")
        return row

    async def is_in(self, state: str, kind: str = "work") -> None:
        """Wait until the job is in `state`."""

        async def there() -> bool:
            return bool((await self.row(kind))["state"] == state)

        await until(there, f"a job of the kind {kind} that is {state}")

    async def failed(self, attempt: int, kind: str = "work") -> None:
        """Wait until this attempt is over and another one is planned."""

        async def there() -> bool:
            row = await self.row(kind)
            return (row["state"], row["attempt"]) == ("delayed", attempt)

        await until(there, f"the end of attempt {attempt}")

    async def later(self, by: timedelta = DAY) -> None:
        """Let `by` pass."""
        self.clock.advance(by)
        self.queue.wake()


def queue_of(worker: Worker, clock: MovableClock, **options: Any) -> JobQueue:
    queue = JobQueue("shop", worker.db, clock, interval=0.02, **options)
    queue.serve(worker)
    worker.jobs = queue
    return queue


@asynccontextmanager
async def kit(store: Any = sqlite_store, *, start: bool = True, **options: Any) -> AsyncIterator[Kit]:
    async with store() as db:
        await make_table(db)
        worker, clock = Worker(db), MovableClock()
        made = Kit(db, worker, queue_of(worker, clock, **options), clock)
        if start:
            await made.queue.start()
        try:
            yield made
        finally:
            await made.queue.stop(0)


async def done(kit: Kit, *what: str) -> None:
    """Wait for exactly these effects."""

    async def there() -> bool:
        return await effects(kit.db) == sorted(what)

    await until(there, f"{what}, there was {await effects(kit.db)}")


# Enqueueing


@both
async def test_a_job_runs_if_and_only_if_its_transaction_commits(store: Any) -> None:
    """J1."""
    async with kit(store) as k:
        with contextlib.suppress(ZeroDivisionError):
            async with k.db.transaction():
                await k.queue.enqueue(k.worker.work, "rolled back")
                raise ZeroDivisionError
        async with k.db.transaction():
            await k.queue.enqueue(k.worker.work, "committed")
        await done(k, "committed")
        assert len(await k.db.fetch("SELECT id FROM orion_jobs WHERE type = 'shop.work'")) == 1


async def test_a_job_enqueued_without_a_transaction_runs_too() -> None:
    async with kit() as k:
        await k.queue.enqueue(k.worker.work, "alone")
        await done(k, "alone")
        await k.is_in("done")


async def test_what_is_no_job_or_too_large_is_refused() -> None:
    """J16."""
    async with kit(start=False) as k:
        with pytest.raises(TypeError, match="is no job"):
            await k.queue.enqueue(k.worker.no_job)
        with pytest.raises(TypeError):
            await k.queue.enqueue(k.worker.work)
        with pytest.raises(Invalid, match="store them first"):
            await k.queue.enqueue(k.worker.work, "x" * MAX_ARGS)
        assert await k.db.fetch("SELECT id FROM orion_jobs") == []


async def test_a_job_of_an_unknown_kind_is_dead_at_once() -> None:
    """J16."""
    async with kit(start=False) as k:
        await k.queue.enqueue(k.worker.work, "x")
        await k.db.fetch("UPDATE orion_jobs SET type = 'shop.renamed'")
        await k.queue.start()
        await k.is_in("dead", "renamed")
        assert (await k.row("renamed"))["error_class"] == "LookupError"


async def test_arguments_that_no_longer_fit_are_dead_at_once() -> None:
    async with kit(start=False) as k:
        await k.queue.enqueue(k.worker.work, "x")
        await k.db.fetch("""UPDATE orion_jobs SET args = '{"what": 5}'""")
        await k.queue.start()
        await k.is_in("dead")


async def test_a_job_works_in_the_context_in_which_it_was_enqueued() -> None:
    """E9."""
    context = Context(Actor("user", "1"), correlation_id="chain", causation_id="cause")
    async with kit() as k:
        with use(context):
            await k.queue.enqueue(k.worker.work, "x")
        await done(k, "x")
        seen = k.worker.seen
        assert seen is not None
        assert (seen.actor.name, seen.originator) == ("service:shop", "user:1")
        assert (seen.correlation_id, seen.causation_id) == ("chain", "cause")
        assert seen.traceparent.split("-")[1] == context.traceparent.split("-")[1]
        assert seen.traceparent != context.traceparent


# Order and time


async def test_the_more_urgent_job_goes_first_and_equals_in_their_order() -> None:
    """J8 and J9, with one worker that does one at a time."""
    order: list[str] = []

    class Noting(Worker):
        @job()
        async def work(self, what: str) -> None:
            order.append(what)

    async with sqlite_store() as db:
        worker = Noting(db)
        queue = queue_of(worker, MovableClock(), concurrency=1)
        for priority, what in (("low", "e"), ("default", "c"), ("high", "b"), ("critical", "a"), ("default", "d")):
            await queue.enqueue(worker.work, what, priority=priority)  # type: ignore[arg-type]
        await queue.start()
        await until(lambda: _is(len(order) == 5), "all five")
        await queue.stop(0)
        assert order == ["a", "b", "c", "d", "e"]


@both
async def test_a_delayed_job_runs_when_it_is_due_and_once(store: Any) -> None:
    """J10."""
    async with kit(store) as k:
        await k.queue.enqueue(k.worker.work, "later", delay=timedelta(hours=2))
        await k.queue.enqueue(k.worker.work, "now")
        await done(k, "now")
        await k.later(timedelta(hours=2))
        await done(k, "later", "now")
        await k.later(timedelta(hours=2))
        await k.queue.enqueue(k.worker.work, "last")
        await done(k, "last", "later", "now")


@both
async def test_several_workers_run_each_job_once(store: Any) -> None:
    """J2."""
    async with kit(store, start=False, concurrency=3) as k:
        others = [queue_of(Worker(k.db), k.clock, concurrency=3) for _ in range(3)]
        wanted = [f"job {number}" for number in range(120)]
        async with k.db.transaction():
            for what in wanted:
                await k.queue.enqueue(k.worker.work, what)
        for queue in (k.queue, *others):
            await queue.start()

        async def over() -> bool:
            waiting = await k.db.fetch("SELECT id FROM orion_jobs WHERE state <> 'done' AND unique_key IS NULL")
            return not waiting

        await until(over, "all jobs", 60.0)
        for queue in others:
            await queue.stop(0)
        assert Counter(await effects(k.db)) == Counter(wanted)


@both
async def test_a_job_that_runs_by_itself_runs_once_for_all_workers(store: Any) -> None:
    async with kit(store) as k:
        other = queue_of(Worker(k.db), k.clock)
        await other.start()
        for day in (1, 2, 3):
            await k.is_in("delayed", "sweep")
            await k.later()
            other.wake()
            await done(k, *["swept"] * day)
        await k.is_in("delayed", "sweep")
        await other.stop(0)
        assert await effects(k.db) == ["swept"] * 3


async def test_a_job_that_runs_by_itself_goes_on_after_a_failure() -> None:
    class Failing(Worker):
        @job(every=DAY, retries=0)
        async def sweep(self) -> None:
            await did(self.db, "tried")
            raise ZeroDivisionError

    async with sqlite_store() as db:
        await make_table(db)
        worker, clock = Failing(db), MovableClock()
        made = Kit(db, worker, queue_of(worker, clock), clock)
        await made.queue.start()
        for day in (1, 2):
            await made.is_in("delayed", "sweep")
            await made.later()
            await done(made, *["tried"] * day)
        await made.is_in("delayed", "sweep")
        await made.queue.stop(0)


@both
async def test_a_job_that_runs_by_itself_comes_back_after_a_release_that_did_not_know_it(store: Any) -> None:
    async with kit(store, start=False) as k:
        older = JobQueue("shop", k.db, k.clock, interval=0.02)
        older.serve(object())
        await k.queue.start()
        await k.queue.stop(0)
        await older.start()
        k.clock.advance(DAY)
        older.wake()
        await k.is_in("dead", "sweep")
        await older.stop(0)

        await k.queue.start()
        await k.is_in("delayed", "sweep")
        await k.later()
        await done(k, "swept")


# Failing


@both
async def test_a_failed_job_is_tried_again_after_growing_delays_and_is_dead_in_the_end(store: Any) -> None:
    """J6 and J7."""
    async with kit(store) as k:
        k.worker.raises = [ValueError("one"), OSError("two"), ZeroDivisionError("three")]
        await k.queue.enqueue(k.worker.work, "never")
        for attempt, (least, most) in ((1, (50, 100)), (2, (75, 150))):
            await k.failed(attempt)
            row = await k.row()
            waits = row["due_ms"] - row["started_ms"]
            # From half of the delay; above it by as long as the attempt took.
            assert least * 1000 <= waits < most * 1000 + 60_000
            await k.later(timedelta(seconds=most + 60))
        await k.is_in("dead")
        row = await k.row()
        assert (row["attempt"], row["error_class"], row["error_message"]) == (3, "ZeroDivisionError", "three")
        assert "raise self.raises.pop(0)" in row["traceback"]
        assert len(row["traceback"]) <= MAX_TRACEBACK
        assert [word in row["history"] for word in ("ValueError", "OSError", "ZeroDivisionError")] == [True] * 3
        assert row["finished_ms"] is not None
        assert await effects(k.db) == []


async def test_a_job_may_say_when_it_wants_to_run_again() -> None:
    """J6."""
    async with kit() as k:
        k.worker.raises = [Retry("not yet", after=5000)]
        await k.queue.enqueue(k.worker.work, "x")
        await k.is_in("delayed")
        row = await k.row()
        assert row["attempt"] == 1
        assert 5_000_000 <= row["due_ms"] - row["started_ms"] < 5_060_000
        await k.later(timedelta(seconds=5060))
        await done(k, "x")


@pytest.mark.parametrize("error", [Discard("hopeless"), Invalid("hopeless")])
async def test_a_job_that_can_never_succeed_is_dead_at_once(error: Exception) -> None:
    """J6."""
    async with kit() as k:
        k.worker.raises = [error]
        await k.queue.enqueue(k.worker.work, "x")
        await k.is_in("dead")
        row = await k.row()
        assert (row["attempt"], row["error_message"]) == (1, "hopeless")


async def test_a_job_that_takes_too_long_has_failed() -> None:
    async with kit() as k:
        await k.queue.enqueue(k.worker.dawdle)
        await k.is_in("delayed", "dawdle")
        assert (await k.row("dawdle"))["error_class"] == "TimeoutError"


async def test_a_job_whose_own_work_is_cancelled_has_failed() -> None:
    async with kit() as k:
        k.worker.raises = [asyncio.CancelledError()]
        await k.queue.enqueue(k.worker.work, "x")
        await k.is_in("delayed")
        assert (await k.row())["error_class"] == "RuntimeError"


# Losing workers


@both
async def test_a_worker_that_lost_its_lease_can_neither_finish_nor_fail_the_job(store: Any) -> None:
    """J4: the attempt number fences."""
    async with kit(store) as k:
        await k.queue.enqueue(k.worker.wait, "by the first")
        await k.worker.begun.wait()
        # The first one is cut off: another sees its lease end.
        quick = Worker(k.db)
        ahead = MovableClock()
        ahead.advance(timedelta(minutes=1))
        second = queue_of(quick, ahead)
        await second.start()
        await k.is_in("delayed", "wait")
        ahead.advance(timedelta(minutes=1))
        second.wake()
        await quick.begun.wait()
        assert (await k.row("wait"))["attempt"] == 2
        k.worker.gate.set()
        # Its effect is there, as a job may run twice; the job's state is not its to change.
        await done(k, "by the first")
        row = await k.row("wait")
        assert (row["state"], row["attempt"]) == ("active", 2)
        quick.gate.set()
        await k.is_in("done", "wait")
        assert (await k.row("wait"))["attempt"] == 2
        await second.stop(0)


async def test_a_late_worker_cannot_touch_the_same_attempt_of_another_one() -> None:
    """J4: the attempts of a recurring job begin anew each time, so the number alone would not fence."""
    async with kit(start=False) as k:
        await k.queue.enqueue(k.worker.wait, "x")
        await k.db.fetch("UPDATE orion_jobs SET state = 'active', attempt = 1, worker = 'another'")
        late = {**await k.row("wait"), "worker": "late"}
        await k.queue._finish(late, "state = 'done'")
        assert (await k.row("wait"))["state"] == "active"
        await k.queue._finish({**late, "worker": "another"}, "state = 'done'")
        assert (await k.row("wait"))["state"] == "done"


async def test_a_job_of_another_service_is_refused() -> None:
    """Nobody would run it: its row would be in the wrong database."""

    class Other:
        @job()
        async def send(self) -> None: ...

    async with kit() as k:
        with pytest.raises(TypeError, match=r"send is no job of shop: call its service"):
            await k.queue.enqueue(Other().send)


async def test_a_job_that_runs_for_many_leases_is_left_to_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """J5: it is extended by heartbeats."""
    monkeypatch.setattr(queue_module, "LEASE_MS", 1000)
    monkeypatch.setattr(queue_module, "HEARTBEAT", 0.05)
    async with kit() as k:
        await k.queue.enqueue(k.worker.wait, "long")
        await k.worker.begun.wait()
        other = queue_of(Worker(k.db), k.clock)
        await other.start()

        async def five_leases_later() -> bool:
            (row,) = await k.db.fetch(
                f"SELECT {k.db.dialect.now_ms} - started_ms AS age FROM orion_jobs WHERE type = 'shop.wait'"
            )
            return bool(row["age"] > 5000)

        await until(five_leases_later, "five leases")
        row = await k.row("wait")
        assert (row["state"], row["attempt"]) == ("active", 1)
        k.worker.gate.set()
        await done(k, "long")
        await other.stop(0)


def _die(where: str) -> None:
    """Runs the job `die` until it ends this process."""

    async def run() -> None:
        async with reopened(where) as db:
            queue = queue_of(Worker(db), MovableClock())
            await queue.start()
            await asyncio.sleep(60)

    asyncio.run(run())


async def in_a_process(target: Callable[[str], None], where: str) -> int | None:
    """Run `target(where)` in a process of its own and return how it ended."""
    process = _SPAWN.Process(target=target, args=(where,))
    process.start()
    await asyncio.to_thread(process.join, 60)
    code = process.exitcode
    process.kill()
    process.join()
    process.close()
    return code


@both
async def test_a_job_that_ends_its_process_runs_out_of_attempts(store: Any) -> None:
    """J3: its lease ends with the process, the attempt counts, and the delay applies."""
    async with kit(store, start=False) as k:
        await k.queue.enqueue(k.worker.die)
        await k.queue.enqueue(k.worker.work, "beside it", delay=DAY)
        for attempt in (1, 2):
            assert await in_a_process(_die, location(k.db)) == 9
            row = await k.row("die")
            assert (row["state"], row["attempt"]) == ("active", attempt)
        await k.queue.start()
        await k.is_in("dead", "die")
        assert (await k.row("die"))["error_message"] == "its worker is gone"
        await k.later()
        await done(k, "beside it", "swept")


async def test_the_job_of_a_worker_that_lives_is_not_taken_at_a_start() -> None:
    async with kit() as k:
        await k.queue.enqueue(k.worker.wait, "x")
        await k.worker.begun.wait()
        other = queue_of(Worker(k.db), k.clock)
        await k.db.fetch("UPDATE orion_jobs SET worker = $1 WHERE state = 'active'", f"elsewhere:{os.getpid()}:1")
        await other.start()
        assert (await k.row("wait"))["state"] == "active"
        await other.stop(0)
        k.worker.gate.set()
        await done(k, "x")


# Stopping


@both
async def test_a_stop_waits_for_what_runs(store: Any) -> None:
    """J13 and E14."""
    async with kit(store) as k:
        await k.queue.enqueue(k.worker.wait, "x")
        await k.worker.begun.wait()
        stopping = asyncio.create_task(k.queue.stop(30))
        await asyncio.sleep(0)
        assert not stopping.done()
        k.worker.gate.set()
        await stopping
        await k.queue.enqueue(k.worker.work, "too late")
        assert await effects(k.db) == ["x"]
        assert (await k.row("wait"))["state"] == "done"
        assert (await k.row())["state"] == "ready"


@both
async def test_a_stop_gives_back_what_did_not_end_without_counting_it(store: Any) -> None:
    """J13."""
    async with kit(store) as k:
        await k.queue.enqueue(k.worker.wait, "x")
        await k.worker.begun.wait()
        await k.queue.stop(0)
        row = await k.row("wait")
        assert (row["state"], row["attempt"], row["lease_until_ms"], row["worker"]) == ("ready", 0, 0, "")
        k.worker.gate.set()
        await k.queue.start()
        await done(k, "x")


async def _is(truth: bool) -> bool:
    return truth
