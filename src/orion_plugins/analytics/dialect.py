"""What differs between SQLite and PostgreSQL in the statements of analytics."""

from __future__ import annotations

from orion_core.ports.database import Database

_KEY = 0x6F72696F
"""Of the advisory lock: the first half, the second one is made of the schema's name."""


def value_of(db: Database, column: str, argument: str) -> str:
    """An expression for the text under the key `argument` of the JSON object in `column`, NULL if there is none."""
    if db.dialect.name == "sqlite":
        return f"(SELECT value FROM json_each({column}) WHERE key = {argument})"
    return f"(CAST({column} AS jsonb) ->> CAST({argument} AS text))"


def by_bytes(db: Database) -> str:
    """Orders texts by their code points on both, whatever the database's language is."""
    return "" if db.dialect.name == "sqlite" else 'COLLATE "C"'


async def share(db: Database) -> None:
    """Hold off `alone` until the end of the transaction. SQLite has one writer at a time anyway."""
    if db.dialect.name != "sqlite":
        await db.fetch(f"SELECT pg_advisory_xact_lock_shared({_KEY}, hashtext(current_schema()))")


async def alone(db: Database) -> None:
    """Wait until nobody shares, and hold off everybody until the end of the transaction.

    Only to be taken by a transaction that holds nothing yet.
    """
    if db.dialect.name != "sqlite":
        await db.fetch(f"SELECT pg_advisory_xact_lock({_KEY}, hashtext(current_schema()))")
