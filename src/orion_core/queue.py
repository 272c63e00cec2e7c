"""The job engine of one service: rows in its own database, claimed by compare-and-set, run with a lease and retries.

States: ``ready`` and ``delayed`` wait, ``active`` runs under a lease, ``done`` and ``dead`` are over. The fencing token
is the attempt number with the worker's name: a worker that lost its lease can neither finish nor fail the job.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import random
import secrets
import socket
import traceback
import typing
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs

from orion_core import codec
from orion_core.background import Looper, cancelled_itself, end, spawn
from orion_core.context import Actor, Context, child_traceparent, current, use
from orion_core.errors import Invalid
from orion_core.ids import new_id
from orion_core.jobs import PRIORITIES, Discard, JobType, Priority, Retry, job_types
from orion_core.ports.clock import Clock
from orion_core.ports.database import OPEN_TRANSACTION, Database, DatabaseUnavailable

log = logging.getLogger("orion.jobs")

LEASE_MS = 30_000
HEARTBEAT = 10.0
MAX_ARGS = 256 * 1024
MAX_TRACEBACK = 16 * 1024
HISTORY = 50
"""How many past attempts a row remembers."""
_STARTED: set[str] = set()
"""The workers of this process."""

_COLUMNS = (
    "id, type, queue, args, priority, attempt, max_attempts, correlation_id, causation_id, traceparent, originator, "
    "history, worker"
)


@attrs.frozen
class Work:
    """One kind of job this engine can run: its declaration and the function that does it."""

    kind: JobType
    run: Callable[..., Awaitable[None]]


class JobQueue:
    """Enqueues and runs the jobs of one service; fills the need `Jobs`."""

    def __init__(
        self, service: str, db: Database, clock: Clock, *, interval: float = 0.5, concurrency: int = 8
    ) -> None:
        self._service = service
        self._db = db
        self._clock = clock
        self._concurrency = concurrency
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._work: dict[str, Work] = {}
        self._running: dict[asyncio.Task[None], dict[str, Any]] = {}
        self._random = random.Random()  # noqa: S311 - jitter is no secret
        self._loop = Looper(f"jobs of {service}", self._step, interval)
        self._beats: asyncio.Task[None] | None = None
        self.wake = self._loop.wake

    def serve(self, service: Any, extra: Mapping[str, Work] | None = None) -> None:
        """Run the jobs of `service`, and `extra` ones by full type name."""
        for name, kind in job_types(type(service)).items():
            self._work[f"{self._service}.{name}"] = Work(kind, getattr(service, name))
        self._work.update(extra or {})

    async def enqueue(
        self,
        method: Callable[..., Awaitable[None]],
        *args: Any,
        priority: Priority = "default",
        delay: timedelta | None = None,
    ) -> UUID:
        """See `Jobs.enqueue`."""
        kind = getattr(method, "__orion_job__", None)
        if not isinstance(kind, JobType):
            raise TypeError(f"{getattr(method, '__qualname__', method)} is no job: mark it with @job()")
        if self._work and f"{self._service}.{kind.method}" not in self._work:
            raise TypeError(f"{getattr(method, '__qualname__', method)} is no job of {self._service}: call its service")
        given = inspect.signature(method).bind(*args).arguments
        hints = typing.get_type_hints(method)
        text = json.dumps({name: codec.to_plain(argument, hints[name]) for name, argument in given.items()})
        if len(text) > MAX_ARGS:
            raise Invalid(
                f"the arguments of {kind.method} take {len(text)} bytes, more than {MAX_ARGS}: store them first"
            )
        job_id = new_id()
        await self._insert(job_id, kind, text, PRIORITIES.index(priority), delay)
        transaction = OPEN_TRANSACTION.get()
        if transaction:
            transaction.after_commit(self.wake)
        else:
            self.wake()
        return job_id

    async def start(self) -> None:
        """Begin to run jobs; makes the rows of jobs that run by themselves."""
        for name, work in self._work.items():
            if work.kind.every is not None:
                await self._recur(name, work.kind, work.kind.every)
        _STARTED.add(self._worker)
        await self._adopt_orphans()
        self._loop.start()
        self._beats = spawn(self._heartbeat(), f"heartbeat of {self._service}")

    async def stop(self, grace: float) -> None:
        """Claim nothing more, wait up to `grace` seconds, then give back what still runs without counting it."""
        await self._loop.stop()
        if self._running and grace > 0:
            await asyncio.wait(self._running, timeout=grace)
        unfinished = dict(self._running)
        await end(*unfinished)
        for row in unfinished.values():
            try:
                await self._db.fetch(
                    "UPDATE orion_jobs SET state = 'ready', attempt = attempt - 1, lease_until_ms = 0, worker = '' "
                    "WHERE id = $1 AND attempt = $2 AND worker = $3 AND state = 'active'",
                    row["id"],
                    row["attempt"],
                    row["worker"],
                )
            except DatabaseUnavailable as error:
                log.warning("%s is given back when its lease ends: %s", row["type"], error)
        if self._beats is not None:
            await end(self._beats)
            self._beats = None
        _STARTED.discard(self._worker)

    @property
    def _offset_ms(self) -> int:
        return int(self._clock.offset.total_seconds() * 1000)

    @property
    def _now(self) -> str:
        return f"({self._db.dialect.now_ms} + {self._offset_ms})"

    async def _insert(
        self,
        job_id: UUID,
        kind: JobType,
        args: str,
        priority: int,
        delay: timedelta | None,
        name: str = "",
        unique: str | None = None,
    ) -> None:
        context = current()
        delay_ms = 0 if delay is None else int(delay.total_seconds() * 1000)
        await self._db.fetch(
            "INSERT INTO orion_jobs (id, type, queue, args, priority, state, attempt, max_attempts, due_ms, "
            "lease_until_ms, worker, unique_key, correlation_id, causation_id, traceparent, originator, error_class, "
            f"error_message, traceback, history, created_ms) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, {self._now} + "
            f"{delay_ms}, 0, '', $8, $9, $10, $11, $12, '', '', '', '[]', {self._now}) "
            "ON CONFLICT (unique_key) DO NOTHING",
            job_id,
            name or f"{self._service}.{kind.method}",
            kind.queue,
            args,
            priority,
            "delayed" if delay_ms else "ready",
            kind.retries + 1,
            unique,
            context.correlation_id,
            context.causation_id,
            context.traceparent,
            context.originator,
        )

    async def _step(self) -> bool:
        await self._rescue()
        free = self._concurrency - len(self._running)
        if free <= 0:
            return False
        waiting = f"state IN ('ready', 'delayed') AND due_ms <= {self._now}"
        if not await self._db.fetch(f"SELECT 1 AS found FROM orion_jobs WHERE {waiting} LIMIT 1"):
            return False
        rows = await self._db.fetch(
            "UPDATE orion_jobs SET state = 'active', attempt = attempt + 1, "
            f"lease_until_ms = {self._now} + {LEASE_MS}, worker = $1, started_ms = {self._now} "
            f"WHERE id IN (SELECT id FROM orion_jobs WHERE {waiting} ORDER BY priority, due_ms, id LIMIT {free} "
            f"{self._db.dialect.skip_locked}) RETURNING {_COLUMNS}",
            self._worker,
        )
        for row in sorted(rows, key=lambda row: (row["priority"], row["id"])):
            task = spawn(self._run(row), f"job {row['type']}")
            self._running[task] = row
            task.add_done_callback(self._finished)
        return bool(rows)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            log.warning("the outcome of a job of %s could not be stored: %s", self._service, error)
        self.wake()

    async def _run(self, row: dict[str, Any]) -> None:
        work = self._work.get(row["type"])
        if work is None:
            await self._bury(row, LookupError(f"{self._service} has no job {row['type']}"))
            return
        context = Context(
            actor=Actor("service", self._service, originator=row["originator"]),
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            traceparent=child_traceparent(row["traceparent"]),
        )
        with use(context):
            try:
                hints = typing.get_type_hints(work.run)
                plain = json.loads(row["args"])
                args = {name: codec.from_plain(argument, hints[name]) for name, argument in plain.items()}
                async with asyncio.timeout(work.kind.timeout):
                    await work.run(**args)
            except asyncio.CancelledError:
                if cancelled_itself():
                    raise
                await self._failed(row, RuntimeError("something the job waited for was cancelled"), work.kind)
            except (Discard, Invalid) as error:
                await self._bury(row, error, work.kind)
            except Exception as error:
                await self._failed(row, error, work.kind)
            else:
                await self._complete(row, work.kind)

    async def _recur(self, name: str, kind: JobType, every: timedelta) -> None:
        key = f"every:{name}"
        await self._insert(new_id(), kind, "{}", 2, every, name, unique=key)
        # An older release that did not know this job may have buried its row.
        await self._db.fetch(
            f"UPDATE orion_jobs SET state = 'delayed', attempt = 0, due_ms = {self._now} "
            "WHERE unique_key = $1 AND state = 'dead'",
            key,
        )

    async def _complete(self, row: dict[str, Any], kind: JobType) -> None:
        if kind.every is not None:
            await self._again(row, kind.every)
        else:
            await self._finish(row, f"state = 'done', finished_ms = {self._now}")

    async def _again(self, row: dict[str, Any], every: timedelta) -> None:
        interval_ms = int(every.total_seconds() * 1000)
        await self._finish(row, f"state = 'delayed', attempt = 0, due_ms = {self._now} + {interval_ms}")

    async def _failed(self, row: dict[str, Any], error: Exception, kind: JobType) -> None:
        if row["attempt"] >= row["max_attempts"]:
            await self._bury(row, error, kind)
            return
        after = error.after if isinstance(error, Retry) else None
        delay = self._backoff(row["attempt"], kind) if after is None else after
        log.warning(
            "%s failed in attempt %d of %d, again in %.1f s: %s",
            row["type"],
            row["attempt"],
            row["max_attempts"],
            delay,
            error,
            exc_info=error if error.__traceback__ and not isinstance(error, Retry) and not _expected(error) else None,
        )
        await self._finish(row, f"state = 'delayed', due_ms = {self._now} + {int(delay * 1000)}", error)

    def _backoff(self, attempt: int, kind: JobType) -> float:
        return min(kind.cap, kind.base * 2.0 ** (attempt - 1)) * self._random.uniform(0.5, 1)

    async def _bury(self, row: dict[str, Any], error: Exception, kind: JobType | None = None) -> None:
        log.error("%s is dead after %d attempts: %s", row["type"], row["attempt"], error)
        if kind is not None and kind.every is not None:
            # A job that runs by itself comes again at its next time.
            await self._again(row, kind.every)
        else:
            await self._finish(row, f"state = 'dead', finished_ms = {self._now}", error)

    async def _finish(self, row: dict[str, Any], change: str, error: Exception | None = None) -> None:
        history = row["history"]
        trace = ""
        if error is not None:
            past = json.loads(history)[-HISTORY + 1 :]
            past.append({"attempt": row["attempt"], "error": type(error).__name__, "message": str(error)[:500]})
            history = json.dumps(past)
            trace = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
        stored = await self._patiently(
            f"UPDATE orion_jobs SET {change}, lease_until_ms = 0, worker = '', error_class = $1, error_message = $2, "
            "traceback = $3, history = $4 "
            "WHERE id = $5 AND attempt = $6 AND worker = $7 AND state = 'active' RETURNING id",
            type(error).__name__ if error else "",
            str(error)[:2000] if error else "",
            trace,
            history,
            row["id"],
            row["attempt"],
            # The attempts of a recurring job begin anew each time: the worker tells them apart.
            row["worker"],
        )
        if not stored:
            log.warning("%s lost its lease in attempt %d: its result is dropped", row["type"], row["attempt"])

    async def _patiently(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """Store an outcome even if the database is away for a while: the lease fences it should that take too long."""
        pause = 0.1
        while True:
            try:
                return await self._db.fetch(sql, *args)
            except DatabaseUnavailable as error:
                log.warning("the outcome of a job of %s cannot be stored yet: %s", self._service, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            for row in list(self._running.values()):
                try:
                    await self._db.fetch(
                        f"UPDATE orion_jobs SET lease_until_ms = {self._now} + {LEASE_MS} "
                        "WHERE id = $1 AND attempt = $2 AND worker = $3 AND state = 'active'",
                        row["id"],
                        row["attempt"],
                        row["worker"],
                    )
                except Exception as error:
                    log.warning("a lease of %s could not be extended: %s", row["type"], error)

    async def _rescue(self, condition: str = "", *args: Any) -> None:
        """Take jobs from workers that are gone: the attempt counts and the retry delay applies."""
        lost = condition or f"lease_until_ms < {self._now}"
        rows = await self._db.fetch(f"SELECT {_COLUMNS} FROM orion_jobs WHERE state = 'active' AND {lost}", *args)
        mine = {row["id"] for row in self._running.values()}
        for row in rows:
            if row["id"] in mine:
                continue
            work = self._work.get(row["type"])
            gone = RuntimeError("its worker is gone")
            if work is None:
                await self._bury(row, gone)
            else:
                await self._failed(row, gone, work.kind)

    async def _adopt_orphans(self) -> None:
        """At start, do not wait for leases of processes of this machine that are known to be dead."""
        prefix = f"{socket.gethostname()}:"
        rows = await self._db.fetch("SELECT DISTINCT worker FROM orion_jobs WHERE state = 'active'")
        for row in rows:
            worker = row["worker"]
            if worker in _STARTED:
                continue
            if worker.startswith(prefix) and not _alive(int(worker.split(":")[1])):
                await self._rescue("worker = $1", worker)


def _expected(error: Exception) -> bool:
    return hasattr(error, "retry_after")


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        # A container's first process has the same number in every life; those of this life are in `_STARTED`.
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
