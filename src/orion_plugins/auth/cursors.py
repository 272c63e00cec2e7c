"""Cursors of pages: the id of the last row, as opaque text. Pure functions."""

from __future__ import annotations

import base64
import re
from uuid import UUID

from orion_core.errors import FieldError, Malformed

_SHAPE = re.compile(r"[A-Za-z0-9_-]{22}")


def to_cursor(row_id: UUID) -> str:
    """The cursor of the page after the row `row_id`."""
    return base64.urlsafe_b64encode(row_id.bytes).decode("ascii").rstrip("=")


def from_cursor(cursor: str) -> UUID:
    """The row that `cursor` stands for; raises `Malformed` for anything that `to_cursor` did not make."""
    if _SHAPE.fullmatch(cursor):
        row_id = UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
        # The last character carries bits that decoding drops: only one spelling counts.
        if to_cursor(row_id) == cursor:
            return row_id
    detail = "must be the next_cursor of the page before, or empty"
    raise Malformed(f"cursor: {detail}", errors=[FieldError("cursor", "malformed", detail)])
