"""Pages of lists: how many items one may have, and cursors that say where the page before ended. Pure functions.

A cursor is opaque text with exactly one spelling; whatever was not given out is refused as `Malformed`::

    check_limit(limit)
    rows = ...                                         # newest first, `limit + 1` of them, below `from_cursor(cursor)`
    next_cursor = to_cursor(rows[limit - 1].id) if len(rows) > limit else None
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from orion_core.errors import FieldError, Malformed
from orion_core.values import invalid

MOST = 200
"""Items on one page, at the most."""
_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def check_limit(limit: int, most: int = MOST) -> None:
    """Raise `Invalid` for a number of items that no page has: it is 1 to `most`."""
    if not 1 <= limit <= most:
        raise invalid("limit", "out_of_range", f"must be from 1 to {most}")


def to_cursor(row_id: UUID) -> str:
    """The cursor of the page after the row `row_id`."""
    return pack(row_id.bytes)


def from_cursor(cursor: str) -> UUID:
    """The row that `cursor` stands for; raises `Malformed` for anything that `to_cursor` did not make."""
    return UUID(bytes=_sized(cursor, 16))


def to_time_cursor(at: datetime, row_id: UUID) -> str:
    """The cursor of the page after the row `row_id` of the time `at`."""
    return pack(((at - _START) // _MICROSECOND).to_bytes(8, "big", signed=True) + row_id.bytes)


def from_time_cursor(cursor: str) -> tuple[datetime, UUID]:
    """What `cursor` stands for; raises `Malformed` for anything that `to_time_cursor` did not make."""
    found = _sized(cursor, 24)
    try:
        at = _START + int.from_bytes(found[:8], "big", signed=True) * _MICROSECOND
    except OverflowError:
        raise bad_cursor() from None
    return at, UUID(bytes=found[8:])


def pack(place: bytes) -> str:
    """The cursor for a `place` that is told in any other way."""
    return base64.urlsafe_b64encode(place).decode("ascii").rstrip("=")


def unpack(cursor: str) -> bytes:
    """The place that `cursor` stands for; raises `Malformed` for what `pack` did not make."""
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise bad_cursor() from None
    # The last character may carry bits that decoding drops: only one spelling counts.
    if pack(place) != cursor:
        raise bad_cursor()
    return place


def bad_cursor() -> Malformed:
    """What is raised for a cursor that was never given out."""
    detail = "must be the next_cursor of the page before, or empty"
    return Malformed(f"cursor: {detail}", errors=[FieldError("cursor", "malformed", detail)])


def _sized(cursor: str, size: int) -> bytes:
    place = unpack(cursor)
    if len(place) != size:
        raise bad_cursor()
    return place
