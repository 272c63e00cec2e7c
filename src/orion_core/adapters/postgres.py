"""The database of one service on PostgreSQL: a database of its own, or a schema of one.

Every wait for the server is bounded, so an outage is a quick `DatabaseUnavailable`; broken connections are dropped, and
service resumes by itself when the server is back.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
from piccolo.engine import Engine
from piccolo.engine.postgres import PostgresEngine as PiccoloEngine
from piccolo.engine.postgres import PostgresTransaction as PiccoloTransaction
from piccolo.querystring import QueryString

from orion_core.adapters._database import Callbacks, LastWork, finish, outermost
from orion_core.adapters._postgres_errors import drop, guarded, is_closed, translated, was_stale
from orion_core.ports.check import Check
from orion_core.ports.database import OPEN_TRANSACTION, DatabaseUnavailable, Dialect, Transaction

_log = logging.getLogger("orion.database")
_DIALECT = Dialect(
    name="postgresql",
    now_ms="(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    skip_locked="FOR UPDATE SKIP LOCKED",
)
_EXTENSIONS = "orion_ext"
_CONNECT_SECONDS = 3.0
_ACQUIRE_SECONDS = 2.0
_RELEASE_SECONDS = 2.0
_COMMAND_SECONDS = 5.0
_CHECK_SECONDS = 1.0
_MIGRATION_SECONDS = 24 * 3600.0
_LOCK_MINUTES = 10
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_READS = re.compile(r"\s*SELECT\b", re.IGNORECASE)
_PATIENT: ContextVar[bool] = ContextVar("orion_postgres_patient", default=False)


class PostgresDatabase:
    """A `Database` on PostgreSQL, through a pool of connections. Use `open`."""

    def __init__(self, engine: PostgresEngine, schema: str) -> None:
        self._engine = engine
        self._schema = schema

    @classmethod
    async def open(cls, url: str, *, pool: int = 10, lazy: bool = False) -> Self:
        """Connect to `url`: ``postgresql://user:password@host:5432/database``, with as an optional query

        - ``schema``: the service's own schema, instead of the role's search path;
        - ``pool``: connections at most, instead of `pool`;
        - ``command_timeout``: seconds that one statement may take, 5;
        - anything else for the driver, such as ``sslmode``.

        With `lazy` the server need not be there yet. Raises ValueError for another URL, `DatabaseUnavailable` within
        seconds when the server does not answer or refuses.
        """
        dsn, options = _parse(url)
        schema = options.get("schema", "")
        settings = {"search_path": f'"{schema}", {_EXTENSIONS}'} if schema else {}
        engine = await asyncio.to_thread(
            PostgresEngine,
            {"dsn": dsn, "timeout": _CONNECT_SECONDS, "server_settings": settings},
            _number(options, "command_timeout", _COMMAND_SECONDS),
        )
        try:
            await engine.start(int(_number(options, "pool", pool)))
            if not lazy:
                await engine.execute("SELECT 1", ())
        except BaseException as error:
            await engine.aclose()
            if isinstance(error, DatabaseUnavailable):
                parts = urlsplit(dsn)
                where = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
                raise DatabaseUnavailable(f"the database {where} cannot be opened: {error.__cause__}") from error
            raise
        return cls(engine, schema)

    @property
    def dialect(self) -> Dialect:
        """What is particular to PostgreSQL."""
        return _DIALECT

    @property
    def engine(self) -> Engine[Any]:
        """The Piccolo engine to which the service's tables are bound."""
        return self._engine

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a READ COMMITTED transaction; see `Database.transaction`."""
        return outermost(self._engine.transaction)

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """Run one statement with arguments ``$1`` ...; see `Database.fetch`."""
        return [dict(record) for record in await self._engine.execute(sql, args)]

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[None]:
        """Make the schema, be the only one to migrate it, and lift the limit on a statement's time.

        The lock belongs to a connection of its own and ends with it, also when the process dies.
        """
        connection = await translated(self._engine.get_new_connection())
        try:
            await translated(self._lock_schema(connection))
            token = _PATIENT.set(True)
            try:
                yield
            finally:
                _PATIENT.reset(token)
        finally:
            await finish(_close(connection))

    async def _lock_schema(self, connection: Any) -> None:
        await connection.execute(f"SET lock_timeout = '{_LOCK_MINUTES}min'")
        key = "hashtextextended('orion.migrate:' || coalesce(nullif($1, ''), current_schema(), ''), 0)"
        await connection.execute(f"SELECT pg_advisory_lock({key})", self._schema, timeout=_MIGRATION_SECONDS)
        known = "SELECT 1 FROM pg_namespace WHERE nspname = $1"
        # Looked up first: the role may be allowed to use the schema but not to make one.
        if self._schema and not await connection.fetchval(known, self._schema):
            await connection.execute(f'CREATE SCHEMA "{self._schema}"')

    async def check(self) -> Check:
        """``pass``, or ``fail`` when there is no answer within a second."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._engine.execute("SELECT 1", ())
        except TimeoutError:
            return Check("fail", f"no answer within {_CHECK_SECONDS:g} s")
        except DatabaseUnavailable as error:
            return Check("fail", f"{error}: {error.__cause__}")
        return Check("pass")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.aclose()


class PostgresEngine(PiccoloEngine):
    """Piccolo's engine on a pool whose every wait is bounded."""

    def __init__(self, config: dict[str, Any], command_timeout: float) -> None:
        super().__init__(config)
        self._command_timeout = command_timeout

    async def check_version(self) -> None:
        """Not here: Piccolo would ask the server, and block the event loop while it waits."""

    async def start(self, size: int) -> None:
        """Make the pool; it connects when it is used."""
        # Nothing is left behind in a session, so the round trip that resets it after each statement is saved.
        self.pool = await asyncpg.create_pool(
            **self.config, min_size=0, max_size=size, command_timeout=self._command_timeout, reset=_keep
        )

    def transaction(self, allow_nested: bool = True) -> PostgresTransaction:
        """A transaction; nested ones join the outer, as in Piccolo."""
        return PostgresTransaction(self, allow_nested)

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> Sequence[Any]:
        """Run a query of Piccolo."""
        sql, args = querystring.compile_string(engine_type=self.engine_type)
        return await self.execute(sql, args)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> Sequence[Any]:
        """Run a statement that changes the schema."""
        return await self.execute(ddl, ())

    async def execute(self, sql: str, args: Sequence[Any]) -> Sequence[Any]:
        """Run one statement in the transaction of this task, else by itself."""
        transaction = self.current_transaction.get()
        if transaction:
            return await self._fetch(transaction.connection, sql, args)
        try:
            return await self._fetch_alone(sql, args)
        except DatabaseUnavailable as error:
            if not (was_stale(error) and _READS.match(sql)):
                raise
        return await self._fetch_alone(sql, args)

    async def begin(self) -> Any:
        """A connection of the pool with a transaction begun."""
        try:
            return await self._begin()
        except DatabaseUnavailable as error:
            if not was_stale(error):
                raise
        return await self._begin()

    async def acquire(self) -> Any:
        """A connection of the pool; raises `DatabaseUnavailable` after two seconds."""
        if self.pool is None:
            raise DatabaseUnavailable("the database is closed")
        try:
            return await translated(self.pool.acquire(timeout=_ACQUIRE_SECONDS))
        except asyncpg.InterfaceError as error:
            raise DatabaseUnavailable("the database is closed") from error

    async def release(self, connection: Any) -> None:
        """Give it back; one that does not answer is dropped."""
        try:
            if self.pool is not None:
                await self.pool.release(connection, timeout=_RELEASE_SECONDS)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            _log.debug("a connection was dropped", exc_info=True)

    async def aclose(self) -> None:
        """Close the pool; connections in use are cut after a moment."""
        pool, self.pool = self.pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await pool.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()

    async def _begin(self) -> Any:
        connection = await self.acquire()
        try:
            await guarded(connection, connection.execute("BEGIN"))
        except BaseException:
            await finish(self.abandon(connection))
            raise
        return connection

    async def abandon(self, connection: Any) -> None:
        """Roll back what is open on `connection` and give it back."""
        try:
            if not is_closed(connection) and connection.is_in_transaction():
                async with asyncio.timeout(_RELEASE_SECONDS):
                    await connection.execute("ROLLBACK")
        except Exception:
            _log.debug("a roll back failed, its connection is dropped", exc_info=True)
            drop(connection)
        await self.release(connection)

    async def _fetch_alone(self, sql: str, args: Sequence[Any]) -> Sequence[Any]:
        connection = await self.acquire()
        try:
            return await self._fetch(connection, sql, args)
        finally:
            await self.release(connection)

    async def _fetch(self, connection: Any, sql: str, args: Sequence[Any]) -> Sequence[Any]:
        timeout = _MIGRATION_SECONDS if _PATIENT.get() else None
        rows: Sequence[Any] = await guarded(connection, connection.fetch(sql, *args, timeout=timeout))
        return rows


class PostgresTransaction(PiccoloTransaction):
    """A transaction on a connection of the pool, for as long as it is open."""

    engine: PostgresEngine

    def __init__(self, engine: PostgresEngine, allow_nested: bool) -> None:
        super().__init__(engine, allow_nested)
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

    async def __aenter__(self) -> PiccoloTransaction:
        if self._parent is not None:
            return self._parent
        self.connection = await self.engine.begin()
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
        if error is not None or self._rolled_back or self._committed:
            await finish(self.engine.abandon(self.connection))
            if self._committed:
                self._callbacks.run()
        else:
            await finish(self._commit())
        return False

    async def commit(self) -> None:
        """Commit before the end of the block."""
        if await guarded(self.connection, self.connection.execute("COMMIT")) == "ROLLBACK":
            raise RuntimeError("a statement failed in this transaction, so it cannot commit: let its error leave it")
        self._committed = True

    async def rollback(self) -> None:
        """Roll back before the end of the block."""
        await guarded(self.connection, self.connection.execute("ROLLBACK"))
        self._rolled_back = True

    async def _commit(self) -> None:
        try:
            await self.commit()
        finally:
            await self.engine.abandon(self.connection)
        self._callbacks.run()


async def _close(connection: Any) -> None:
    try:
        await connection.close(timeout=_RELEASE_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


async def _keep(connection: Any) -> None:
    """Nothing to reset."""


def _parse(url: str) -> tuple[str, Mapping[str, str]]:
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(f"not the URL of a PostgreSQL database, its scheme is {parts.scheme!r}: use postgresql://")
    query = dict(parse_qsl(parts.query))
    options: dict[str, str] = {name: query.pop(name) for name in ("schema", "pool", "command_timeout") if name in query}
    if "schema" in options and not _SCHEMA.fullmatch(options["schema"]):
        raise ValueError(f"schema in the database URL is {options['schema']!r}: use a-z, 0-9 and _, at most 63")
    return parts._replace(query=urlencode(query)).geturl(), options


def _number(options: Mapping[str, str], name: str, default: float) -> float:
    try:
        number = float(options.get(name, default))
    except ValueError:
        number = 0
    if number <= 0:
        raise ValueError(f"{name} in the database URL is {options[name]!r}: use a positive number")
    return number
