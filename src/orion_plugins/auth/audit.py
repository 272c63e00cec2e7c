"""The security audit log: one row for everything that happened to accounts, sessions, keys and rights. Never a secret.

`record` is all that others need. Rows are appended at the very end of the transaction that did what they tell, as each
continues the chain of the one before and everybody waits for the end of the chain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID
from weakref import WeakKeyDictionary

import attrs

from orion_core.context import current
from orion_core.ids import new_id
from orion_core.ports.database import OPEN_TRANSACTION, Database, Transaction
from orion_core.sealing import Where, seal_with
from orion_plugins.auth.audit_chain import COLUMNS, chained
from orion_plugins.auth.person_keys import NOBODY, PersonKeys

Outcome = Literal["success", "failure"]
TABLE = "auth_audit_logs"
_HEAD = "UPDATE auth_audit_head SET seq = seq WHERE id = 1 RETURNING seq, hash"
_MOVE = "UPDATE auth_audit_head SET seq = $1, hash = $2 WHERE id = 1"
_STORED = (*COLUMNS, "hash")
_AT_ONCE = 50
"""Rows of one statement: databases limit its arguments."""


@attrs.frozen
class AuditTrail:
    """The audit log of the database `db`. Tables are bound to one database in a process, and so is the open trail."""

    db: Database
    keys: PersonKeys
    _waiting: WeakKeyDictionary[Transaction, list[dict[str, Any]]] = attrs.field(
        init=False, repr=False, factory=WeakKeyDictionary
    )
    _open: ClassVar[list[AuditTrail]] = []

    @classmethod
    def live(cls) -> AuditTrail:
        """The one that was opened last."""
        if not cls._open:
            raise RuntimeError("the audit log is not open: enter the service of auth with 'async with'")
        return cls._open[-1]

    def open(self) -> None:
        """From now on `record` writes here."""
        self._open.append(self)

    def close(self) -> None:
        """`record` writes here no more."""
        self._open[:] = [trail for trail in self._open if trail is not self]

    async def add(self, entries: Sequence[Entry], now: datetime, by: By | None = None) -> None:
        """Append `entries` when the running transaction commits, in one of their own if there is none.

        `by` is who did it, taken from the context if left out.
        """
        transaction = OPEN_TRANSACTION.get()
        # One that is over is false.
        if transaction:
            await self._add(transaction, entries, now, by or By.context())
            return
        async with self.db.transaction() as own:
            await self._add(own, entries, now, by or By.context())

    async def _add(self, transaction: Transaction, entries: Sequence[Entry], now: datetime, by: By) -> None:
        rows = [await self._row(entry, now, by) for entry in entries]
        waiting = self._waiting.get(transaction)
        if waiting is not None:
            waiting += rows
            return
        self._waiting[transaction] = rows
        transaction.before_commit(lambda: self._append(self._waiting.pop(transaction)))

    async def _row(self, entry: Entry, now: datetime, by: By) -> dict[str, Any]:
        row_id = new_id()
        told = {
            "ip": by.ip_address,
            "other_ip": entry.other_ip_address,
            "agent": by.user_agent,
            "request": by.request_id,
        }
        return {
            "id": row_id,
            "user_id": entry.user_id,
            "action": entry.action[:64],
            "timestamp": now,
            "outcome": entry.outcome,
            "reason": entry.reason[:64],
            "actor": by.actor[:128],
            "impersonator": by.impersonator[:128],
            "method": entry.method[:32],
            "session_id": entry.session_id,
            "fields": json.dumps(entry.fields),
            "purpose": entry.purpose[:100],
            "origin": await self._sealed(row_id, "origin", json.dumps(told), by.person or entry.user_id, now),
            "note": await self._sealed(row_id, "note", entry.note, entry.user_id, now) if entry.note else "",
        }

    async def _sealed(self, row_id: UUID, column: str, text: str, person: UUID | None, now: datetime) -> str:
        key = await self.keys.of(person or NOBODY, now)
        return "" if key is None else seal_with(key, Where(TABLE, str(row_id), column), text.encode())

    async def _append(self, rows: list[dict[str, Any]]) -> None:
        # From here until the commit everybody else who has something to record waits.
        [head] = await self.db.fetch(_HEAD)
        seq, previous = head["seq"], head["hash"]
        for row in rows:
            seq += 1
            row["seq"] = seq
            row["hash"] = previous = chained(previous, row)
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            await self.db.fetch(_insert(len(some)), *(row[column] for row in some for column in _STORED))
        await self.db.fetch(_MOVE, seq, previous)


@attrs.frozen(kw_only=True)
class By:
    """Who did something, in whose name (``user:<id>``), and where the request came from."""

    actor: str
    impersonator: str
    ip_address: str
    user_agent: str
    request_id: str

    @classmethod
    def context(cls) -> By:
        """As the context tells."""
        context = current()
        return cls(
            actor=context.actor.name,
            impersonator=f"user:{context.actor.impersonator}" if context.actor.impersonator else "",
            ip_address=client_ip(),
            user_agent=user_agent(),
            request_id=context.correlation_id[:64],
        )

    @property
    def person(self) -> UUID | None:
        """The person at the keyboard: an impersonator rather than who they act as; None where nobody is known."""
        return at_the_keyboard(self.actor, self.impersonator)


@attrs.frozen(kw_only=True)
class Entry:
    """What `record` is told; see there."""

    action: str
    outcome: Outcome = "success"
    user_id: UUID | None = None
    session_id: UUID | None = None
    reason: str = ""
    method: str = ""
    other_ip_address: str = ""
    fields: tuple[str, ...] = ()
    purpose: str = ""
    note: str = ""


async def record(
    action: str,
    now: datetime,
    *,
    outcome: Outcome = "success",
    user_id: UUID | None = None,
    session_id: UUID | None = None,
    reason: str = "",
    method: str = "",
    other_ip_address: str = "",
    note: str = "",
) -> None:
    """Record what happened to the account `user_id`; who did it and from where is taken from the context.

    In the running transaction if there is one: it is appended when that commits. `reason` and `method` are words of the
    program, never what people typed; that is what `note` is for, which is forgotten with the person.
    """
    entry = Entry(
        action=action,
        outcome=outcome,
        user_id=user_id,
        session_id=session_id,
        reason=reason,
        method=method,
        other_ip_address=other_ip_address,
        note=note,
    )
    await AuditTrail.live().add([entry], now)


async def record_reading(
    action: str, now: datetime, *, subjects: Sequence[UUID], fields: Sequence[str], purpose: str
) -> None:
    """Record that the actor was shown personal `fields` of the people `subjects`, who may be none; `purpose` names the
    operation that was asked for. What people read of themselves is left out."""
    own = asking()
    others: list[UUID | None] = [each for each in dict.fromkeys(subjects) if each != own]
    if subjects and not others:
        return
    entries = [Entry(action=action, user_id=each, fields=tuple(fields), purpose=purpose) for each in others or [None]]
    await AuditTrail.live().add(entries, now)


def asking() -> UUID | None:
    """The person at the keyboard now."""
    return By.context().person


def at_the_keyboard(actor: str, impersonator: str) -> UUID | None:
    """The person in the columns `actor` and `impersonator` of a row whose request it was; None if nobody is known."""
    name = impersonator or actor
    return UUID(name.removeprefix("user:")) if name.startswith("user:") else None


def client_ip() -> str:
    """The address of the client of this request, empty when there is none."""
    return current().client_ip[:64]


def user_agent() -> str:
    """What the client calls itself, cut to what is kept; PostgreSQL stores no NUL."""
    return current().user_agent.replace("\x00", "")[:512]


def _insert(rows: int) -> str:
    width = len(_STORED)
    places = ", ".join(
        f"({', '.join(f'${row * width + column}' for column in range(1, width + 1))})" for row in range(rows)
    )
    return f"INSERT INTO {TABLE} ({', '.join(_STORED)}) VALUES {places}"
