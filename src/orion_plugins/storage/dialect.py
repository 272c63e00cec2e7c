"""What differs between SQLite and PostgreSQL here."""

from __future__ import annotations

from orion_core.ports.database import Database

_SHARED = {"postgresql": "FOR SHARE", "sqlite": ""}
"""On SQLite a writing transaction is alone anyway."""


def shared(db: Database) -> str:
    """What follows a SELECT whose rows must stay as they are until the transaction ends."""
    return _SHARED[db.dialect.name]


async def alone(db: Database, what: str) -> None:
    """In the running transaction: wait until no other one that is alone in `what` runs any more."""
    if db.dialect.name == "postgresql":
        await db.fetch("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", what)
