"""Cursors of pages: where the page before ended, as opaque text. Pure functions."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from orion_core.errors import FieldError, Malformed

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_cursor(row_id: UUID) -> str:
    """The cursor of the page after the row `row_id`."""
    return _encode(row_id.bytes)


def from_cursor(cursor: str) -> UUID:
    """The row that `cursor` stands for; raises `Malformed` for anything that `to_cursor` did not make."""
    return UUID(bytes=_decode(cursor, 16))


def to_time_cursor(at: datetime, row_id: UUID) -> str:
    """The cursor of the page after the row `row_id` of the time `at`."""
    return _encode(((at - _START) // _MICROSECOND).to_bytes(8, "big", signed=True) + row_id.bytes)


def from_time_cursor(cursor: str) -> tuple[datetime, UUID]:
    """What `cursor` stands for; raises `Malformed` for anything that `to_time_cursor` did not make."""
    found = _decode(cursor, 24)
    try:
        at = _START + int.from_bytes(found[:8], "big", signed=True) * _MICROSECOND
    except OverflowError:
        raise _refused() from None
    return at, UUID(bytes=found[8:])


def _encode(given: bytes) -> str:
    return base64.urlsafe_b64encode(given).decode("ascii").rstrip("=")


def _decode(cursor: str, size: int) -> bytes:
    try:
        found = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused() from None
    # The last character may carry bits that decoding drops: only one spelling counts.
    if len(found) != size or _encode(found) != cursor:
        raise _refused()
    return found


def _refused() -> Malformed:
    detail = "must be the next_cursor of the page before, or empty"
    return Malformed(f"cursor: {detail}", errors=[FieldError("cursor", "malformed", detail)])
