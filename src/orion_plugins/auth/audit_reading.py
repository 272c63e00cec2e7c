"""Reading the audit log, page by page, with what only some may see opened for them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attrs

from orion_core.contracts.auth_audit import AuditEntry, AuditPage, AuditQuery
from orion_core.errors import FieldError, Malformed
from orion_core.keyring import Key
from orion_core.paging import check_limit
from orion_core.ports.database import Database
from orion_core.sealing import Unsealable, Where, open_with
from orion_plugins.auth.audit import TABLE, at_the_keyboard
from orion_plugins.auth.audit_chain import COLUMNS
from orion_plugins.auth.person_keys import NOBODY, PersonKeys

_LARGEST = 2**63 - 1


@attrs.frozen
class AuditReader:
    """Reads the log of the database `db`."""

    db: Database
    keys: PersonKeys

    async def page(self, query: AuditQuery) -> AuditPage:
        """The entries that `query` asks for, newest first; raises `Malformed` for a cursor of another list."""
        rows, cursor = await self._rows(query)
        keys = await self.keys.find({person for row in rows for person in (_origin_of(row), _note_of(row))})
        return AuditPage(tuple(_entry(row, keys.get(_origin_of(row)), keys.get(_note_of(row))) for row in rows), cursor)

    async def own(self, person: UUID, cursor: str, limit: int) -> AuditPage:
        """The entries about `person`; where a request came from only if it was theirs, or nobody's."""
        rows, following = await self._rows(AuditQuery(cursor=cursor, limit=limit, user_id=person))
        key = (await self.keys.find([person])).get(person)
        entries = (_entry(row, key if _origin_of(row) == person else None, None) for row in rows)
        return AuditPage(tuple(entries), following)

    async def _rows(self, query: AuditQuery) -> tuple[list[dict[str, Any]], str | None]:
        check_limit(query.limit)
        wanted: list[tuple[str, Any]] = [
            ("seq < ", _from_cursor(query.cursor) if query.cursor else None),
            ("action = ", query.action or None),
            ("outcome = ", query.outcome or None),
            ("user_id = ", query.user_id),
            ("timestamp >= ", query.since),
            ("timestamp < ", query.until),
        ]
        given = [(condition, argument) for condition, argument in wanted if argument is not None]
        where = " AND ".join(f"{condition}${number}" for number, (condition, _) in enumerate(given, 1))
        # One row more tells whether there is another page.
        rows = await self.db.fetch(
            f"SELECT {', '.join(COLUMNS)}, hash FROM {TABLE} {f'WHERE {where}' if where else ''} "
            f"ORDER BY seq DESC LIMIT {query.limit + 1}",
            *(argument for _, argument in given),
        )
        more = len(rows) > query.limit
        return rows[: query.limit], _to_cursor(rows[query.limit - 1]["seq"]) if more else None


def people(page: AuditPage) -> set[UUID]:
    """Whom the entries of `page` are about."""
    return {entry.user_id for entry in page.items if entry.user_id is not None}


def _origin_of(row: Mapping[str, Any]) -> UUID:
    """Whose key sealed where the request came from: that of the person at the keyboard, as `audit` does it."""
    return at_the_keyboard(row["actor"], row["impersonator"]) or _note_of(row)


def _note_of(row: Mapping[str, Any]) -> UUID:
    return row["user_id"] or NOBODY


def _entry(row: Mapping[str, Any], origin_key: Key | None, note_key: Key | None) -> AuditEntry:
    origin = json.loads(_opened(row, "origin", origin_key) or "{}")
    return AuditEntry(
        seq=row["seq"],
        id=row["id"],
        at=row["timestamp"],
        action=row["action"],
        outcome=row["outcome"],
        reason=row["reason"],
        actor=row["actor"],
        impersonator=row["impersonator"],
        user_id=row["user_id"],
        session_id=row["session_id"],
        method=row["method"],
        fields=tuple(json.loads(row["fields"])),
        purpose=row["purpose"],
        note=_opened(row, "note", note_key),
        ip_address=origin.get("ip", ""),
        other_ip_address=origin.get("other_ip", ""),
        user_agent=origin.get("agent", ""),
        request_id=origin.get("request", ""),
        hash=row["hash"],
    )


def _opened(row: Mapping[str, Any], column: str, key: Key | None) -> str:
    if key is None or not row[column]:
        return ""
    try:
        return open_with(key, Where(TABLE, str(row["id"]), column), row[column]).decode()
    except Unsealable:
        # Somebody changed it: verification says where, and the rest of the page is still of use.
        return ""


def _to_cursor(seq: int) -> str:
    return base64.urlsafe_b64encode(seq.to_bytes(8, "big")).decode("ascii").rstrip("=")


def _from_cursor(cursor: str) -> int:
    try:
        found = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        seq = int.from_bytes(found, "big")
        # The last character may carry bits that decoding drops: only one spelling counts.
        if len(found) == 8 and seq <= _LARGEST and _to_cursor(seq) == cursor:
            return seq
    except (binascii.Error, ValueError):
        pass
    detail = "must be the next_cursor of the page before, or empty"
    raise Malformed(f"cursor: {detail}", errors=[FieldError("cursor", "malformed", detail)])
