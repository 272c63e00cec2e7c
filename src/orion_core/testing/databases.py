"""Databases of a test's own on the PostgreSQL server that tests use."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from orion_core.ports.database import Database
from orion_core.testing.services import postgres_url


@asynccontextmanager
async def postgres_database() -> AsyncIterator[str]:
    """The URL of a fresh, empty database; dropped afterwards, whoever still uses it.

    Skips the test when there is no server, or fails it when `ORION_TEST_SERVICES=require`.
    """
    server = postgres_url()
    name = f"orion_test_{secrets.token_hex(8)}"
    # template0, unlike template1, is never in use by anyone, so several tests can copy it at once.
    await _execute(server, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        await asyncio.shield(_execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def waits_for_lock(db: Database) -> bool:
    """Whether anybody waits for a lock in the PostgreSQL database `db`."""
    look = db.fetch("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    # In a context of its own: a transaction that is open in this one would see the same activity each time.
    return bool(await asyncio.create_task(look, context=contextvars.Context()))
