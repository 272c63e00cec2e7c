"""A key per person, under which the audit log keeps what identifies them; destroyed when the person is erased.

The keys themselves are sealed with the keyring. A log that may not change can so still forget.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.keyring import Key, Keyring
from orion_core.ports.database import Database
from orion_core.sealing import Where, open_, seal

NOBODY = UUID(int=0)
"""Stands for people whom nobody knows: who tried to sign in to an account that does not exist."""
_TABLE = "auth_person_keys"
_KID = "person"


@attrs.frozen
class PersonKeys:
    """The keys in `db`, opened with `keyring`."""

    db: Database
    keyring: Keyring

    async def of(self, person: UUID, now: datetime) -> Key | None:
        """The key of `person`, made if there is none yet; None if it was destroyed."""
        rows = await self.db.fetch(f"SELECT sealed FROM {_TABLE} WHERE id = $1", person)
        if not rows:
            sealed = seal(self.keyring, _where(person), secrets.token_bytes(32))
            await self.db.fetch(
                f"INSERT INTO {_TABLE} (id, sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
                person,
                sealed,
                now,
            )
            # Another transaction may have been faster: its key counts.
            rows = await self.db.fetch(f"SELECT sealed FROM {_TABLE} WHERE id = $1", person)
        return self._opened(person, rows[0]["sealed"])

    async def find(self, people: Collection[UUID]) -> dict[UUID, Key]:
        """The keys of those of `people` who have one."""
        if not people:
            return {}
        places = ", ".join(f"${number}" for number in range(1, len(people) + 1))
        rows = await self.db.fetch(f"SELECT id, sealed FROM {_TABLE} WHERE id IN ({places})", *people)
        opened = {row["id"]: self._opened(row["id"], row["sealed"]) for row in rows}
        return {person: key for person, key in opened.items() if key is not None}

    async def destroy(self, person: UUID, now: datetime) -> None:
        """Make everything sealed for `person` unreadable, for good: no other key is ever made for them."""
        await self.db.fetch(
            f"INSERT INTO {_TABLE} (id, sealed, created_at) VALUES ($1, '', $2) "
            "ON CONFLICT (id) DO UPDATE SET sealed = ''",
            person,
            now,
        )

    def _opened(self, person: UUID, sealed: str) -> Key | None:
        return Key(_KID, open_(self.keyring, _where(person), sealed)) if sealed else None


def _where(person: UUID) -> Where:
    return Where(_TABLE, str(person), "sealed")
