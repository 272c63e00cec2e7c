"""Verifying the audit log: the chain is computed anew from its first entry to its head."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs

from orion_core.contracts.auth_audit import AuditAnchor, AuditFault, AuditReport
from orion_core.ports.database import Database
from orion_plugins.auth.audit import TABLE
from orion_plugins.auth.audit_chain import COLUMNS, START, chained

_BATCH = 500
_SELECT = f"SELECT {', '.join(COLUMNS)}, hash FROM {TABLE}"
MOST = 100
"""Faults that are listed."""


@attrs.frozen
class Head:
    """The end of the chain."""

    seq: int
    hash: str


async def head(db: Database) -> Head:
    """The end of the chain as the database keeps it."""
    rows = await db.fetch("SELECT seq, hash FROM auth_audit_head WHERE id = 1")
    return Head(rows[0]["seq"], rows[0]["hash"]) if rows else Head(0, START)


async def verify(db: Database, anchors: Sequence[AuditAnchor]) -> AuditReport:
    """Compare every entry with its hash, each number with the one before, and the end with the head and `anchors`."""
    end = await head(db)
    taken = {anchor.seq: anchor for anchor in anchors}
    faults: list[AuditFault] = []
    checked, seq, previous = 0, 0, START
    async for row in _rows(db, faults):
        if row["seq"] > end.seq:
            # Appended since this began; or the head was set back, which the next look tells.
            end = await head(db)
            if row["seq"] > end.seq:
                faults.append(AuditFault(row["seq"], "head", f"the log goes on after its head, which is {end.seq}"))
                break
        if row["seq"] != seq + 1:
            faults.append(AuditFault(seq + 1, "missing", f"{row['seq'] - seq - 1} entries before {row['seq']}"))
        elif chained(previous, row) != row["hash"]:
            faults.append(AuditFault(row["seq"], "changed", "the entry, or the one before, is not what was written"))
        # Going on from what is stored, one change is one fault.
        checked, seq, previous = checked + 1, row["seq"], row["hash"]
        anchor = taken.pop(seq, None)
        if anchor is not None and anchor.hash != previous:
            faults.append(AuditFault(seq, "anchor", f"on {anchor.at:%Y-%m-%d %H:%M} it had another hash"))
    if seq < end.seq:
        faults.append(AuditFault(seq + 1, "missing", f"{end.seq - seq} entries up to the head"))
    elif seq == end.seq and previous != end.hash:
        faults.append(AuditFault(seq, "head", "the last entry has not the hash of the head"))
    faults += [
        AuditFault(anchor.seq, "anchor", f"on {anchor.at:%Y-%m-%d %H:%M} the log had this entry")
        for anchor in taken.values()
        if anchor.seq > 0
    ]
    return AuditReport(checked, end.seq, end.hash, tuple(faults[:MOST]))


async def _rows(db: Database, faults: list[AuditFault]) -> AsyncIterator[dict[str, Any]]:
    """All rows in their order; one that cannot even be read is a fault."""
    after = -(2**63)  # forged numbers may lie below the first
    while True:
        numbers = await db.fetch(f"SELECT seq FROM {TABLE} WHERE seq > $1 ORDER BY seq LIMIT {_BATCH}", after)
        if not numbers:
            return
        last = numbers[-1]["seq"]
        try:
            found = await db.fetch(f"{_SELECT} WHERE seq > $1 AND seq <= $2 ORDER BY seq", after, last)
        except ValueError:
            found = [row async for row in _one_by_one(db, numbers, faults)]
        for row in found:
            yield row
        after = last


async def _one_by_one(
    db: Database, numbers: Sequence[dict[str, Any]], faults: list[AuditFault]
) -> AsyncIterator[dict[str, Any]]:
    for number in numbers:
        try:
            rows = await db.fetch(f"{_SELECT} WHERE seq = $1", number["seq"])
        except ValueError:
            faults.append(AuditFault(number["seq"], "unreadable", "a column holds what cannot be read"))
            continue
        for row in rows:
            yield row
