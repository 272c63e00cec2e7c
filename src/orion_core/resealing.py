"""Encrypting anew: after a new encryption key was put in front of the keyring, what was sealed with older ones moves.

It runs while everything else does, in small batches, as a job of each service that declares sealed columns. A row that
somebody changes meanwhile keeps that change.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs

from orion_core.jobs import JobType
from orion_core.keyring import Keyring
from orion_core.plugin import Sealed
from orion_core.ports.database import Database
from orion_core.queue import Work
from orion_core.sealing import Unsealable, Where, open_, prefix_of, seal

log = logging.getLogger("orion.sealing")
BATCH = 100
UNKNOWN = "?"
"""Stands for keys that are not in the keyring."""


@attrs.frozen
class Resealed:
    """How many values were sealed anew, and how many did not open."""

    moved: int
    failed: int


@attrs.frozen
class Resealing:
    """The sealed `columns` of `service` in `db`."""

    service: str
    db: Database
    keyring: Keyring
    columns: Sequence[Sealed]

    async def counts(self) -> dict[str, dict[str, int]]:
        """How many values each encryption key has sealed, by ``table.column`` and id of the key."""
        return {f"{each.table}.{each.column}": await self._count(each) for each in self.columns}

    async def run(self) -> Resealed:
        """Seal with the first key what others sealed. What does not open stays as it is, and is logged."""
        total: Counter[str] = Counter()
        for each in self.columns:
            total += await self._move(each)
        return Resealed(total["moved"], total["failed"])

    def work(self) -> dict[str, Work]:
        """The job, as the queue of the service takes it: every hour it looks whether there is anything to do."""

        async def reseal() -> None:
            done = await self.run()
            if done.moved:
                log.info("%d value(s) of %s were encrypted with the new key", done.moved, self.service)

        kind = JobType("reseal", "default", 3, 1.0, 600.0, 3600.0, timedelta(hours=1))
        return {f"{self.service}.orion_reseal": Work(kind, reseal)}

    async def _count(self, sealed: Sealed) -> dict[str, int]:
        found: dict[str, int] = {}
        some = f"{sealed.column} IS NOT NULL AND {sealed.column} <> ''"
        for key in self.keyring.encryption:
            prefix = prefix_of(key.kid)
            rows = await self.db.fetch(
                f"SELECT COUNT(*) AS found FROM {sealed.table} WHERE {some} AND substr({sealed.column}, 1, $1) = $2",
                len(prefix),
                prefix,
            )
            found[key.kid] = int(rows[0]["found"])
        rows = await self.db.fetch(f"SELECT COUNT(*) AS found FROM {sealed.table} WHERE {some}")
        if others := int(rows[0]["found"]) - sum(found.values()):
            found[UNKNOWN] = others
        return found

    async def _move(self, sealed: Sealed) -> Counter[str]:
        counted: Counter[str] = Counter()
        prefix = prefix_of(self.keyring.encryption[0].kid)
        old = (
            f"SELECT {sealed.key} AS row_key, {sealed.column} AS text FROM {sealed.table} "
            f"WHERE {sealed.column} IS NOT NULL AND {sealed.column} <> '' AND substr({sealed.column}, 1, $1) <> $2"
        )
        after: tuple[Any, ...] = ()
        while True:
            rows = await self.db.fetch(
                f"{old} {f'AND {sealed.key} > $3' if after else ''} ORDER BY {sealed.key} LIMIT {BATCH}",
                len(prefix),
                prefix,
                *after,
            )
            if not rows:
                return counted
            after = (rows[-1]["row_key"],)
            counted += await self._move_rows(sealed, rows)

    async def _move_rows(self, sealed: Sealed, rows: Sequence[dict[str, Any]]) -> Counter[str]:
        counted: Counter[str] = Counter()
        anew = []
        for row in rows:
            where = Where(sealed.table, str(row["row_key"]), sealed.column)
            try:
                plain = open_(self.keyring, where, row["text"])
            except Unsealable as error:
                log.warning("a value of %s.%s cannot be encrypted anew: %s", sealed.table, sealed.column, error)
                counted["failed"] += 1
            else:
                anew.append((seal(self.keyring, where, plain), row["row_key"], row["text"]))
        async with self.db.transaction():
            for change in anew:
                # A value that was changed, or destroyed, since it was read stays what it is now.
                counted["moved"] += len(
                    await self.db.fetch(
                        f"UPDATE {sealed.table} SET {sealed.column} = $1 "
                        f"WHERE {sealed.key} = $2 AND {sealed.column} = $3 RETURNING {sealed.key}",
                        *change,
                    )
                )
        return counted
