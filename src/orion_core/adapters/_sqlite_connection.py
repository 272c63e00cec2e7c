"""One connection to an SQLite file with the thread that uses it, and the driver's errors in ORION's words."""

from __future__ import annotations

import asyncio
import functools
import math
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple, Unpack

from orion_core.ports.database import DatabaseUnavailable
from orion_core.ports.database_errors import UniqueViolation

Rows = list[dict[str, Any]]

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")
_INLINE_SECONDS = 0.01
_INLINE_STEPS = 1000
_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_UNIQUE = {
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
}
_READS = re.compile(r"\s*(SELECT|EXPLAIN|VALUES)\b", re.IGNORECASE)
_WITH = re.compile(r"\s*WITH\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)


class Worker:
    """One connection and the one thread that uses it, in the order of the calls."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="orion-sqlite")
        self._last: Future[Any] | None = None
        self._inline_until = math.inf
        connection.set_progress_handler(self._too_slow, _INLINE_STEPS)

    def run(self, work: Callable[[sqlite3.Connection, Unpack[_Args]], _T], *args: *_Args) -> asyncio.Future[_T]:
        """Call `work` with the connection and `args` in the thread."""
        if self._connection is None:
            raise DatabaseUnavailable("the database is closed")
        last = self._thread.submit(work, self._connection, *args)
        self._last = last
        return asyncio.wrap_future(last)

    def attempt(self, sql: str, args: Sequence[Any]) -> Rows | None:
        """The rows of a read, if that takes milliseconds and nobody else uses the connection now; else None."""
        if self._connection is None:
            raise DatabaseUnavailable("the database is closed")
        if self._last is not None and not self._last.done():
            return None
        self._inline_until = time.monotonic() + _INLINE_SECONDS
        try:
            return execute(self._connection, sql, args)
        except sqlite3.Error as error:
            if _code(error) in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY):
                return None
            if (known := _translate(error)) is None:
                raise
            raise known from error
        finally:
            self._inline_until = math.inf

    async def aclose(self) -> None:
        if self._connection is not None:
            closed = self.run(sqlite3.Connection.close)
            self._connection = None
            await closed
            self._thread.shutdown()

    def _too_slow(self) -> bool:
        return time.monotonic() > self._inline_until


def execute(connection: sqlite3.Connection, sql: str, args: Sequence[Any]) -> Rows:
    """Run one statement to its end and return its rows."""
    cursor = connection.execute(sql, args)
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def execute_within(connection: sqlite3.Connection, sql: str, args: Sequence[Any]) -> Rows:
    """Run one statement of an open transaction."""
    # SQLite itself rolls back on some errors (disk full); what follows would then commit statement by statement.
    if not connection.in_transaction:
        raise DatabaseUnavailable("the transaction was rolled back by the database")
    return execute(connection, sql, args)


def begin(connection: sqlite3.Connection) -> None:
    """Take the file's one lock for writing, waiting for other processes."""
    rollback(connection)
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """Commit, or leave no transaction open."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        rollback(connection)
        raise


def rollback(connection: sqlite3.Connection) -> None:
    """Roll back what is open."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def give_up(connection: sqlite3.Connection) -> None:
    """Roll back what is open; `begin` tries again if that fails, and reports it."""
    with suppress(sqlite3.Error):
        rollback(connection)


def use_wal(connection: sqlite3.Connection, until: float) -> None:
    """Switch the file to a write-ahead log."""
    # Changing the journal takes an exclusive lock for which SQLite does not wait when several processes ask at once.
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@functools.lru_cache(maxsize=1024)
def is_read(sql: str) -> bool:
    """Whether `sql` certainly writes nothing."""
    return bool(_READS.match(sql) or (_WITH.match(sql) and not _WRITES.search(sql)))


async def translated(work: Awaitable[_T]) -> _T:
    """The result of `work`; the driver's errors become `DatabaseUnavailable` and `UniqueViolation`."""
    try:
        return await work
    except sqlite3.Error as error:
        if (known := _translate(error)) is None:
            raise
        raise known from error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _translate(error: sqlite3.Error) -> Exception | None:
    if getattr(error, "sqlite_errorcode", 0) in _UNIQUE:
        return _unique(str(error))
    if _code(error) in _AWAY:
        return DatabaseUnavailable(f"the database cannot be used now ({error})")
    return None


def _unique(message: str) -> UniqueViolation:
    # "UNIQUE constraint failed: table.column, table.column" or "... index 'name'"
    _, _, what = message.partition(": ")
    if what.startswith("index "):
        return UniqueViolation(constraint=what.removeprefix("index ").strip("'"))
    pairs = [pair.partition(".") for pair in what.split(", ")]
    return UniqueViolation(pairs[0][0], [column for _, _, column in pairs])
