"""The driver's errors of PostgreSQL in ORION's words."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, TypeVar

import asyncpg

from orion_core.ports.database import DatabaseUnavailable
from orion_core.ports.database_errors import UniqueViolation

_T = TypeVar("_T")
_KEY = re.compile(r"\((.+?)\)=\(")
_AWAY = (
    OSError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
)
_STALE = (
    ConnectionResetError,
    BrokenPipeError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.ConnectionDoesNotExistError,
)


async def guarded(connection: Any, work: Awaitable[_T]) -> _T:
    """The result of `work` on `connection`; raises `DatabaseUnavailable` when that is lost or silent.

    A statement that takes too long is cancelled by the driver while its connection is given back, which is bounded.
    """
    try:
        return await translated(work)
    except asyncpg.InterfaceError as error:
        if is_closed(connection):
            raise DatabaseUnavailable("the connection to the database was lost") from error
        raise


async def translated(work: Awaitable[_T]) -> _T:
    """The result of `work`; the driver's errors become `DatabaseUnavailable` and `UniqueViolation`."""
    try:
        return await work
    except asyncpg.UniqueViolationError as error:
        raise _unique(error) from error
    except _AWAY as error:
        raise DatabaseUnavailable(f"the database cannot be used now ({type(error).__name__})") from error


def _unique(error: Any) -> UniqueViolation:
    # "Key (name, lower(email::text))=(...) already exists." Only the columns: the values may be personal.
    key = _KEY.search(error.detail or "")
    columns = [column.strip().strip('"') for column in key[1].split(",")] if key else []
    plain = all(re.fullmatch(r"\w+", column) for column in columns)
    return UniqueViolation(error.table_name or "", columns if plain else (), error.constraint_name or "")


def was_stale(error: DatabaseUnavailable) -> bool:
    """Whether a connection ended while it was idle in the pool: another one may do."""
    return isinstance(error.__cause__, _STALE)


def is_closed(connection: Any) -> bool:
    """Whether nothing can be sent on `connection` any more."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool took it back when it broke
        return True


def drop(connection: Any) -> None:
    """Close it without a word to the server."""
    if not is_closed(connection):
        connection.terminate()
