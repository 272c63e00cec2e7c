"""Jobs: deferred work of one service. Listeners write, jobs act.

::

    class NotificationsService(Notifications):
        @job(retries=8)
        async def send_mail(self, delivery_id: UUID) -> None: ...

    await self.jobs.enqueue(self.send_mail, delivery_id)        # inside the business transaction

A job runs at least once, so it must be idempotent; it is retried with growing delays and has one live owner at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

import attrs

from orion_core.values import must_be_async

Method = TypeVar("Method", bound=Callable[..., Awaitable[None]])
Priority = Literal["critical", "high", "default", "low"]
PRIORITIES: tuple[Priority, ...] = ("critical", "high", "default", "low")
_JOB = "__orion_job__"


class Retry(Exception):
    """Raised by a job that wants to run again, `after` seconds from now or by its own back-off; counts an attempt."""

    def __init__(self, detail: str = "", *, after: float | None = None) -> None:
        super().__init__(detail)
        self.after = after


class Discard(Exception):
    """Raised by a job that can never succeed: it becomes dead at once."""


@attrs.frozen
class JobType:
    """How a job method is run.

    `retries` is how often it is tried again after a failure; the n-th delay is
    ``min(cap, base * 2**(n-1)) * uniform(0.5, 1)`` seconds. `timeout` ends one attempt, in seconds. `every` makes it
    run by itself at this interval, once for all processes of the service.
    """

    method: str
    queue: str
    retries: int
    base: float
    cap: float
    timeout: float
    every: timedelta | None


def job(
    *,
    queue: str = "default",
    retries: int = 5,
    base: float = 1.0,
    cap: float = 600.0,
    timeout: float = 300.0,
    every: timedelta | None = None,
) -> Callable[[Method], Method]:
    """Mark a service method as a job; see `JobType` for the arguments."""

    def decorate(method: Method) -> Method:
        must_be_async(method, "a job")
        if every is not None and len(inspect.signature(method).parameters) > 1:
            raise TypeError(f"{method.__qualname__} runs by itself, so it takes no arguments")
        setattr(method, _JOB, JobType(method.__name__, queue, retries, base, cap, timeout, every))
        return method

    return decorate


def job_types(service: type) -> dict[str, JobType]:
    """All jobs of the class `service`, by method name."""
    found = {}
    for name, method in inspect.getmembers(service, inspect.isfunction):
        if isinstance(kind := getattr(method, _JOB, None), JobType):
            found[name] = kind
    return found


class Jobs(Protocol):
    """What a service enqueues with; a need of the type `Jobs` is filled per service."""

    async def enqueue(
        self,
        method: Callable[..., Awaitable[None]],
        *args: Any,
        priority: Priority = "default",
        delay: timedelta | None = None,
    ) -> UUID:
        """Write a job to the service's own database, in the running transaction if there is one, and return its id.

        It runs after the commit, `delay` later if given, and never if the transaction rolls back. Raises TypeError
        for a method that is no job of this service and `Invalid` for arguments above 256 kB.
        """
        ...
