"""A service `auth` built by hand, for what its audit log, keys and impersonation promise."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.context import ANONYMOUS, SYSTEM, Actor, Context, acting
from orion_core.contracts.auth import Auth, Register, Tokens
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
from orion_core.testing.fake import Fake
from orion_plugins.auth.plugin import orion_plugin
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.settings import AuthSettings

PASSWORD = "correct horse battery"
ADA = Register("ada@x.org", PASSWORD, "Ada")
CLIENT = Context(actor=ANONYMOUS, client_ip="192.0.2.7", user_agent="test/1", correlation_id="request-1")
BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@asynccontextmanager
async def database_of(kind: str, folder: Path) -> AsyncIterator[Database]:
    """A migrated database of its own."""
    if kind == "sqlite":
        db: Database = await SqliteDatabase.open(folder / "auth.db", synchronous="NORMAL")
        try:
            await prepare(db)
            yield db
        finally:
            await db.aclose()
        return
    from orion_core.adapters.postgres import PostgresDatabase

    async with postgres_database() as url:
        db = await PostgresDatabase.open(url)
        try:
            await prepare(db)
            yield db
        finally:
            await db.aclose()


async def prepare(db: Database) -> None:
    """Migrate it, and bind the tables of auth to it."""
    await up(db, [CORE, MigrationApp("auth", "orion_plugins.auth.migrations")])
    for table in orion_plugin().tables:
        table._meta.db = db.engine  # type: ignore[attr-defined]  # Piccolo has no public way


def service_on(
    db: Database, *, keyring: Keyring | None = None, clock: MovableClock | None = None, **settings: Any
) -> AuthService:
    """A service on `db`, to be entered."""
    clock = clock or MovableClock()
    return AuthService(
        db=db,
        events=Outbox("auth", Auth, db, clock),
        jobs=JobQueue("auth", db, clock),
        clock=clock,
        keyring=keyring or Keyring.generate(),
        notifications=Fake(Notifications),
        settings=AuthSettings(**settings),
        platform=Settings(public_url="https://x.org"),
    )


@asynccontextmanager
async def auth_on(kind: str, folder: Path, **settings: Any) -> AsyncIterator[AuthService]:
    """A running service on a database of its own."""
    async with database_of(kind, folder) as db, service_on(db, **settings) as service:
        yield service


async def entries(service: AuthService, **wanted: Any) -> Sequence[AuditEntry]:
    """Entries of the audit log, newest first."""
    with acting(SYSTEM):
        return (await service.audit_log(AuditQuery(**wanted))).items


def claims(token: str) -> dict[str, Any]:
    """What an access token says."""
    text = token.split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def person(tokens: Tokens, *permissions: str) -> Actor:
    """The actor behind `tokens`."""
    return Actor("user", str(tokens.user.id), session=claims(tokens.access_token)["sid"], permissions=permissions)
