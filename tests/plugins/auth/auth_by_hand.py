"""The service `auth` built by hand, for tests: on SQLite, and where databases differ on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest

from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.context import ANONYMOUS, SYSTEM, Actor, Context, acting
from orion_core.contracts.auth import Access, Auth, Register, Tokens
from orion_core.contracts.auth_audit import AuditEntry, AuditQuery
from orion_core.contracts.notifications import Notifications
from orion_core.keyring import Keyring
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.outbox import Outbox
from orion_core.ports.database import Database
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_core.testing.databases import postgres_database
from orion_core.testing.engines import rows, told
from orion_core.testing.fake import Fake
from orion_plugins.auth.plugin import orion_plugin
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.settings import AuthSettings

MIGRATIONS = "orion_plugins.auth.migrations"
PASSWORD = "correct horse battery"
ADA = Register("Ada@x.org", PASSWORD, " Ada ")
SERVICE = Actor("service", "identity")
CLIENT = Context(actor=ANONYMOUS, client_ip="192.0.2.7", user_agent="test/1", correlation_id="request-1")


@asynccontextmanager
async def serving(
    db: Database, clock: MovableClock | None = None, notifications: Notifications | None = None, **settings: Any
) -> AsyncIterator[AuthService]:
    await up(db, [CORE, MigrationApp("auth", MIGRATIONS)])
    for table in orion_plugin().tables:
        table._meta.db = db.engine  # type: ignore[attr-defined]  # Piccolo has no public way
    # However long a test takes, no time passes but what it lets pass.
    clock = clock or MovableClock(datetime.now(UTC))
    service = AuthService(
        db=db,
        events=Outbox("auth", Auth, db, clock),
        jobs=JobQueue("auth", db, clock),
        clock=clock,
        keyring=Keyring.generate(),
        notifications=notifications or Fake(Notifications),
        settings=AuthSettings(**settings),
        platform=Settings(public_url="https://x.org"),
    )
    async with service:
        yield service


@asynccontextmanager
async def auth(folder: Path, **settings: Any) -> AsyncIterator[AuthService]:
    db = await SqliteDatabase.open(folder / "auth.db", synchronous="NORMAL")
    try:
        async with serving(db, **settings) as service:
            yield service
    finally:
        await db.aclose()


@asynccontextmanager
async def auth_on_postgres(**settings: Any) -> AsyncIterator[AuthService]:
    from orion_core.adapters.postgres import PostgresDatabase

    async with postgres_database() as url:
        db = await PostgresDatabase.open(url)
        try:
            async with serving(db, **settings) as service:
                yield service
        finally:
            await db.aclose()


@asynccontextmanager
async def auth_on(database: str, folder: Path, **settings: Any) -> AsyncIterator[AuthService]:
    """On ``sqlite`` or ``postgresql``; `settings` may hold a `clock` and `notifications`."""
    async with auth_on_postgres(**settings) if database == "postgresql" else auth(folder, **settings) as service:
        yield service


BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


def claims(tokens: Tokens) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(tokens.access_token, options={"verify_signature": False})
    return found


def person(tokens: Tokens) -> Actor:
    return Actor("user", str(tokens.user.id), session=claims(tokens)["sid"])


async def access(service: AuthService, tokens: Tokens) -> Access:
    found = claims(tokens)
    with acting(SERVICE):
        return await service.access(UUID(found["sid"]), found["ver"])


async def published(service: AuthService, cls: type[Any]) -> list[Any]:
    return await told({"auth": service.db}, cls)


async def audit(service: AuthService) -> list[tuple[str, str, str]]:
    found = await rows(service.db, "SELECT action, outcome, reason FROM auth_audit_logs ORDER BY seq")
    return [(row["action"], row["outcome"], row["reason"]) for row in found]


async def everything(service: AuthService) -> dict[str, list[dict[str, Any]]]:
    """All rows of the service's own tables."""
    names = ("users", "sessions", "refresh_tokens", "auth_audit_logs", "orion_outbox")
    return {name: await rows(service.db, f"SELECT * FROM {name} ORDER BY 1") for name in names}


async def entries(service: AuthService, **wanted: Any) -> Sequence[AuditEntry]:
    """Entries of the audit log, newest first."""
    with acting(SYSTEM):
        return (await service.audit_log(AuditQuery(**wanted))).items
