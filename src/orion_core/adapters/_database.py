"""What both databases share: finishing work that must not be abandoned, and the transaction of a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

from orion_core.ports.database import OPEN_TRANSACTION, Transaction

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


async def finish(work: Awaitable[_T]) -> _T:
    """Wait until `work` is done even if this task is cancelled meanwhile; the cancellation is raised afterwards.

    For work that is bounded in time and would leave a connection in an unknown state.
    """
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # marks it as retrieved: the cancellation is what the caller gets to see
        raise cancelled
    return future.result()


class Callbacks:
    """What to call after a commit."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def add(self, callback: Callable[[], None]) -> None:
        """Call `callback` in `run`."""
        self._callbacks.append(callback)

    def run(self) -> None:
        """Call each once. The commit has happened, so a failing one is logged and stops no other."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("a callback after a commit failed")


class LastWork:
    """What to await before a commit."""

    def __init__(self) -> None:
        self._work: list[Callable[[], Awaitable[None]]] = []

    def add(self, work: Callable[[], Awaitable[None]]) -> None:
        """Await `work` in `run`."""
        self._work.append(work)

    async def run(self) -> None:
        """Await each once, in order; what one adds comes last."""
        while self._work:
            await self._work.pop(0)()


class OpenTransaction(Protocol):
    """A transaction of an adapter: it knows whether it is still open."""

    @property
    def open(self) -> bool: ...

    @property
    def last_work(self) -> LastWork: ...

    def after_commit(self, callback: Callable[[], None]) -> None: ...

    def before_commit(self, work: Callable[[], Awaitable[None]]) -> None: ...


def running_transaction() -> Transaction | None:
    """The transaction of this task that is still open.

    A task started inside a transaction inherits it, and may outlive it.
    """
    transaction = OPEN_TRANSACTION.get()
    return transaction if getattr(transaction, "open", True) else None


def outermost(begin: Callable[[], AbstractAsyncContextManager[Any]]) -> AbstractAsyncContextManager[Transaction]:
    """`begin()`, refused with RuntimeError when a transaction of whichever database is open in this task."""

    @asynccontextmanager
    async def guarded() -> AsyncIterator[Transaction]:
        if running_transaction() is not None:
            raise RuntimeError("a transaction is open already in this task: do all of it in one transaction")
        async with begin() as transaction:
            yield transaction
            await transaction.last_work.run()

    return guarded()
