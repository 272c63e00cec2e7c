"""The service `auth` built by hand with people in it, for tests of who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import attrs

from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.context import SYSTEM, Actor, acting
from orion_core.contracts.auth import Auth
from orion_core.contracts.notifications import Notifications
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.outbox import Outbox
from orion_core.permissions import narrowed
from orion_core.ports.database import Database
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_core.testing.databases import postgres_database
from orion_core.testing.fake import Fake
from orion_plugins.auth.holdings import holder
from orion_plugins.auth.plugin import orion_plugin
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import User

SERVICE = Actor("service", "identity")


@attrs.frozen
class Accounts:
    """The service, its clock, and accounts made without hashing passwords, which these tests do not need."""

    auth: AuthService
    db: Database
    clock: MovableClock

    async def person(self, *roles: str) -> Actor:
        """A new account that holds `roles`, as it asks when it has signed in."""
        now, user_id = self.clock.now(), new_id()
        email = f"{user_id}@example.org"
        async with self.db.transaction():
            await User.insert(User(id=user_id, email=email, email_key=email, created_at=now, updated_at=now))
        with acting(SYSTEM):
            for role in roles:
                await self.auth.assign_role(user_id, role)
        return await self.signed_in(Actor("user", str(user_id)))

    async def signed_in(self, who: Actor) -> Actor:
        """`who` with what they hold now."""
        return await self.asking(who.user_id)

    async def asking(self, user_id: UUID, scopes: tuple[str, ...] | None = None) -> Actor:
        """The person as they ask, by an API key if `scopes` are given."""
        held = (await holder(self.db, user_id)).holdings
        permissions = held.permissions if scopes is None else narrowed(held.permissions, scopes)
        return Actor(
            "user",
            str(user_id),
            roles=held.roles,
            permissions=permissions,
            granted=held.granted,
            scopes=scopes,
        )


@asynccontextmanager
async def accounts_on(database: str, folder: Path, **settings: object) -> AsyncIterator[Accounts]:
    """An empty service on a database of the kind `database`: ``sqlite`` or ``postgresql``."""
    if database == "sqlite":
        db: Database = await SqliteDatabase.open(folder / "auth.db", synchronous="NORMAL")
        try:
            async with _serving(db, **settings) as accounts:
                yield accounts
        finally:
            await db.aclose()
        return
    from orion_core.adapters.postgres import PostgresDatabase

    async with postgres_database() as url:
        db = await PostgresDatabase.open(url)
        try:
            async with _serving(db, **settings) as accounts:
                yield accounts
        finally:
            await db.aclose()


@asynccontextmanager
async def _serving(db: Database, **settings: object) -> AsyncIterator[Accounts]:
    await up(db, [CORE, MigrationApp("auth", "orion_plugins.auth.migrations")])  # type: ignore[arg-type]
    for table in orion_plugin().tables:
        table._meta.db = db.engine  # type: ignore[attr-defined]  # Piccolo has no public way
    clock = MovableClock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    service = AuthService(
        db=db,
        events=Outbox("auth", Auth, db, clock),
        jobs=JobQueue("auth", db, clock),
        clock=clock,
        keyring=Keyring.generate(),
        notifications=Fake(Notifications),
        settings=AuthSettings(**settings),  # type: ignore[arg-type]
        platform=Settings(public_url="https://x.org"),
    )
    async with service:
        yield Accounts(service, db, clock)
