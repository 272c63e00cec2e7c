"""What differs between SQLite and PostgreSQL here."""

from __future__ import annotations

from orion_core.ports.database import Database

_SHARED = {"postgresql": "FOR SHARE", "sqlite": ""}
"""On SQLite a writing transaction is alone anyway."""


def shared(db: Database) -> str:
    """What follows a SELECT whose rows must stay as they are until the transaction ends."""
    return _SHARED[db.dialect.name]
