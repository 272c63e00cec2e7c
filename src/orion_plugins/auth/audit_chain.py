"""The chain of the audit log: each entry's hash covers the entry and the hash before it. Pure functions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

START = "0" * 64
"""What stands for the hash before the first entry."""
COLUMNS = (
    "seq",
    "id",
    "user_id",
    "action",
    "timestamp",
    "outcome",
    "reason",
    "actor",
    "impersonator",
    "method",
    "session_id",
    "fields",
    "purpose",
    "origin",
    "note",
)
"""What of a row is hashed: all of it but the hash. Personal columns are hashed as they are stored, encrypted."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def chained(previous: str, row: Mapping[str, Any]) -> str:
    """SHA-256 (FIPS 180-4) over the hash `previous` and the canonical form of `row`, both in hexadecimal."""
    return hashlib.sha256(previous.encode() + b"\n" + _canonical(row)).hexdigest()


def _canonical(row: Mapping[str, Any]) -> bytes:
    """A JSON array of the columns in their order: the same bytes on every database."""
    return json.dumps([_plain(row[column]) for column in COLUMNS], separators=(",", ":"), ensure_ascii=True).encode()


def _plain(cell: Any) -> Any:
    if isinstance(cell, datetime):
        return (cell - _EPOCH) // _MICROSECOND
    return str(cell) if isinstance(cell, UUID) else cell
