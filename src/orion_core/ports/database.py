"""The database of one service.

Guarantees: a committed transaction survives a crash and, with `synchronous=FULL`, a power cut; a transaction sees no
other's uncommitted rows; writing transactions on SQLite are IMMEDIATE and one at a time. A service uses its own Piccolo
tables, which are bound to `engine`, inside `transaction()`. No transaction spans two services.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from orion_core.errors import Unavailable
from orion_core.ports.check import Check

if TYPE_CHECKING:
    from piccolo.engine import Engine


class DatabaseUnavailable(Unavailable):
    """The service's own database cannot be reached."""

    code = "database.unavailable"
    private = True


@attrs.frozen
class Dialect:
    """What differs between SQLite and PostgreSQL in the statements of core.

    `now_ms` is an expression for the database's time in Unix milliseconds; `skip_locked` follows a locking SELECT.
    `scrub` is a statement, outside transactions, after which the files no longer show what was deleted; empty where
    that is the server's business.
    """

    name: str
    now_ms: str
    skip_locked: str
    scrub: str = ""


class Transaction(Protocol):
    """A running transaction."""

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, right after a successful commit."""
        ...

    def before_commit(self, work: Callable[[], Awaitable[None]]) -> None:
        """Await `work` as the last thing inside the transaction, in the order of the calls; an error rolls back.

        For statements that others wait for: a lock taken here is held no longer than the commit takes. Not called when
        the transaction is rolled back.
        """
        ...


OPEN_TRANSACTION: ContextVar[Transaction | None] = ContextVar("orion_open_transaction", default=None)
"""The transaction of the running task, whichever database it belongs to. Adapters set it, the call stub reads it."""


def in_transaction() -> bool:
    """Whether a transaction is open in this task."""
    # One that is over is false: a task started inside it still sees it.
    return bool(OPEN_TRANSACTION.get())


class Database(Protocol):
    """One service's database."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def engine(self) -> Engine[Any]:
        """The Piccolo engine to which the service's tables are bound."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction; commits at the end, rolls back on any exception.

        Never nested: raises RuntimeError when one is open in this task. Raises `DatabaseUnavailable` when the database
        is away.
        """
        ...

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """Run one statement that is hot enough to be written by hand and return its rows.

        Its arguments are ``$1``, ``$2`` and so on.

        Inside a transaction it belongs to it, otherwise it commits by itself. Raises `DatabaseUnavailable`.
        """
        ...

    async def check(self) -> Check:
        """``pass``, or ``fail`` with the reason."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
