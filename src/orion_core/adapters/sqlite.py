"""The database of one service in one SQLite file.

One connection writes, in a thread of its own and one transaction at a time; a second one reads in the event loop's
thread, where a point read costs a fifth of a trip through a thread. A read that takes longer than a few milliseconds is
broken off and starts again in a thread.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from piccolo.engine import Engine
from piccolo.engine.sqlite import SQLiteEngine, SQLiteTransaction, TransactionType
from piccolo.querystring import QueryString

from orion_core.adapters._database import Callbacks, LastWork, finish, outermost
from orion_core.adapters._sqlite_connection import (
    Rows,
    Worker,
    begin,
    commit,
    execute,
    execute_within,
    give_up,
    is_read,
    translated,
    use_wal,
)
from orion_core.ports.check import Check
from orion_core.ports.database import OPEN_TRANSACTION, DatabaseUnavailable, Dialect, Transaction

_SYNCHRONOUS = ("FULL", "NORMAL", "EXTRA")

_DIALECT = Dialect(
    name="sqlite",
    now_ms="CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    skip_locked="",
    scrub="PRAGMA wal_checkpoint(TRUNCATE)",
)
_MINIMUM = (3, 35, 0)  # RETURNING
_PLACEHOLDER = re.compile(r"('(?:[^']|'')*')|\$(\d+)")


class SqliteDatabase:
    """A `Database` in one file, with WAL and IMMEDIATE transactions. Use `open`.

    Other processes may use the same file: a write waits up to `busy_timeout` seconds for theirs to end.
    """

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, path: str | os.PathLike[str], *, synchronous: str = "full", busy_timeout: float = 5.0) -> Self:
        """Open the file at `path`, made with mode 0600 if it is new, and its folder.

        `path` is a path or a URL ``sqlite:///relative/file.db``, ``sqlite:////absolute/file.db``, with ``synchronous``
        (full, normal, extra) as an optional query. Raises ValueError for another URL or a database in memory,
        `DatabaseUnavailable` when the file cannot be opened or is no database.
        """
        file, options = _parse(path)
        synchronous = options.pop("synchronous", synchronous)
        if synchronous.upper() not in _SYNCHRONOUS:
            raise ValueError(f"synchronous of the database is {synchronous!r}: use full, normal or extra")
        if options:
            raise ValueError(f"the database URL has an unknown parameter {min(options)!r}: use synchronous only")
        if sqlite3.sqlite_version_info < _MINIMUM:
            raise DatabaseUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: install 3.35 or later")
        try:
            engine = await asyncio.to_thread(SqliteEngine, file, synchronous, busy_timeout)
        except (OSError, sqlite3.Error) as error:
            raise DatabaseUnavailable(f"the database {file} cannot be opened: {error}") from error
        return cls(engine)

    @property
    def path(self) -> Path:
        """The file."""
        return self._engine.file

    @property
    def dialect(self) -> Dialect:
        """What is particular to SQLite."""
        return _DIALECT

    @property
    def engine(self) -> Engine[Any]:
        """The Piccolo engine to which the service's tables are bound."""
        return self._engine

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open an IMMEDIATE transaction; see `Database.transaction`."""
        return outermost(self._engine.transaction)

    async def fetch(self, sql: str, *args: Any) -> Rows:
        """Run one statement with arguments ``$1`` ...; see `Database.fetch`."""
        return await self._engine.execute(_numbered(sql), args)

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[None]:
        """Nothing to prepare: each migration checks again inside its own IMMEDIATE transaction."""
        yield

    async def check(self) -> Check:
        """``pass``, or ``fail`` when the file is gone or cannot be read."""
        try:
            await self._engine.execute("SELECT 1", ())
        except (DatabaseUnavailable, sqlite3.Error) as error:
            return Check("fail", str(error))
        return Check("pass") if self.path.exists() else Check("fail", "the file of the database is gone")

    async def aclose(self) -> None:
        """Roll back what is open and close every connection."""
        await self._engine.aclose()


class SqliteEngine(SQLiteEngine):
    """Piccolo's engine on kept connections: its own opens a connection and a thread for each statement."""

    def __init__(self, file: Path, synchronous: str, busy_timeout: float) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The mode is given at creation, so that the file is never readable by others; WAL files inherit it.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        super().__init__(path=str(file), timeout=busy_timeout)
        self.file = file
        self.lock = asyncio.Lock()
        connect = functools.partial(self._connect, synchronous, busy_timeout)
        self.writer = Worker(connect())
        # Waiting for a lock would block the event loop, so only the slow reader does.
        self._reader = Worker(connect(query_only=True, wait=0.0))
        self._slow_reader = Worker(connect(query_only=True))

    async def check_version(self) -> None:
        """Checked in `SqliteDatabase.open`."""

    def transaction(
        self, transaction_type: TransactionType = TransactionType.immediate, allow_nested: bool = True
    ) -> SqliteTransaction:
        """An IMMEDIATE transaction whatever `transaction_type` says; nested ones join the outer, as in Piccolo."""
        return SqliteTransaction(self, allow_nested)

    async def run_querystring(self, querystring: QueryString, in_pool: bool = False) -> Rows:
        """Run a query of Piccolo."""
        sql, args = querystring.compile_string(engine_type=self.engine_type)
        return await self.execute(sql, args)

    async def run_ddl(self, ddl: str, in_pool: bool = False) -> Rows:
        """Run a statement that changes the schema."""
        return await self.execute(ddl, ())

    async def execute(self, sql: str, args: Sequence[Any]) -> Rows:
        """Run one statement in the transaction of this task, else by itself."""
        transaction = self.current_transaction.get()
        if transaction:
            statements: _Statements = transaction.connection
            return await statements.execute(sql, args)
        if is_read(sql):
            rows = self._reader.attempt(sql, args)
            return await translated(self._slow_reader.run(execute, sql, args)) if rows is None else rows
        async with self.lock:
            return await translated(self.writer.run(execute, sql, args))

    async def aclose(self) -> None:
        """Close every connection."""
        for worker in (self.writer, self._reader, self._slow_reader):
            await finish(worker.aclose())

    def _connect(
        self, synchronous: str, busy_timeout: float, *, query_only: bool = False, wait: float | None = None
    ) -> sqlite3.Connection:
        connection: sqlite3.Connection = sqlite3.connect(**{**self.connection_kwargs, "check_same_thread": False})
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            # Who is erased must not be readable in the file's free pages.
            connection.execute("PRAGMA secure_delete = ON")
            use_wal(connection, time.monotonic() + busy_timeout)
            if query_only:
                connection.execute("PRAGMA query_only = ON")
            if wait is not None:
                connection.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
        except BaseException:
            connection.close()
            raise
        return connection


class SqliteTransaction(SQLiteTransaction):
    """The one writing transaction of the file, for as long as it is open."""

    engine: SqliteEngine

    def __init__(self, engine: SqliteEngine, allow_nested: bool) -> None:
        super().__init__(engine, TransactionType.immediate, allow_nested)
        self.open = False
        self.last_work = LastWork()
        self._callbacks = Callbacks()
        self._outer: Transaction | None = None

    def __bool__(self) -> bool:
        # Piccolo asks `if current_transaction`: a task that outlives the transaction it inherited must not find it.
        return self.open

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, right after a successful commit."""
        self._callbacks.add(callback)

    def before_commit(self, work: Callable[[], Awaitable[None]]) -> None:
        """Await `work` as the last thing inside the transaction."""
        self.last_work.add(work)

    async def __aenter__(self) -> SQLiteTransaction:
        if self._parent is not None:
            return self._parent
        await self.engine.lock.acquire()
        try:
            await translated(self.engine.writer.run(begin))
        except BaseException:
            with suppress(DatabaseUnavailable):
                self._abandon()
            raise
        self.connection = _Statements(self.engine.writer)
        self.open = True
        self.context = self.engine.current_transaction.set(self)
        self._outer = OPEN_TRANSACTION.get()
        OPEN_TRANSACTION.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._parent is not None:
            return False
        self.open = False
        # Set, not reset: an async generator may be finished in another context than it began in.
        self.engine.current_transaction.set(None)
        OPEN_TRANSACTION.set(self._outer)
        if error is not None or self._rolled_back:
            with suppress(DatabaseUnavailable):
                await finish(self._abandon())
        elif self._committed:
            self.engine.lock.release()
            self._callbacks.run()
        else:
            await self._commit()
        return False

    def _abandon(self) -> asyncio.Future[None]:
        # The worker runs what it is given in order: whoever gets the lock next begins after this roll back.
        try:
            return self.engine.writer.run(give_up)
        finally:
            self.engine.lock.release()

    async def _commit(self) -> None:
        if self.connection.failed:
            await finish(self._abandon())
            raise RuntimeError("a statement failed in this transaction, so it cannot commit: let its error leave it")
        try:
            committed = self.engine.writer.run(commit)
        finally:
            self.engine.lock.release()
        try:
            await translated(finish(committed))
        finally:
            if not committed.cancelled() and committed.exception() is None:
                self._callbacks.run()


class _Statements:
    """The writer's connection within a transaction. After a failed statement only a roll back is accepted.

    SQLite would go on, PostgreSQL does not: what works on one must work on the other.
    """

    def __init__(self, writer: Worker) -> None:
        self._writer = writer
        self.failed = False

    async def execute(self, sql: str, args: Sequence[Any] = ()) -> Rows:
        if sql.startswith("ROLLBACK"):
            self.failed = False
        if self.failed:
            raise RuntimeError("a statement failed in this transaction, so it takes no more: let its error leave it")
        try:
            # Only reads: SQLite rolls back the whole transaction when it has to break off a write.
            if is_read(sql) and (rows := self._writer.attempt(sql, args)) is not None:
                return rows
            return await translated(self._writer.run(execute_within, sql, args))
        except BaseException:
            self.failed = True
            raise


def _parse(path: str | os.PathLike[str]) -> tuple[Path, dict[str, str]]:
    text = os.fspath(path)
    if "://" not in text:
        file, options = text, {}
    else:
        parts = urlsplit(text)
        if parts.scheme != "sqlite" or parts.netloc or not parts.path.startswith("/"):
            raise ValueError(
                f"not the URL of an SQLite file: {text!r}, write sqlite:///relative or sqlite:////absolute"
            )
        file, options = unquote(parts.path[1:]), dict(parse_qsl(parts.query))
    if not file or file.startswith(":memory:"):
        raise ValueError("a database in memory has no second connection: name a file, a temporary one in tests")
    return Path(file), options


@functools.lru_cache(maxsize=1024)
def _numbered(sql: str) -> str:
    return _PLACEHOLDER.sub(lambda match: match[1] or f"?{match[2]}", sql)
