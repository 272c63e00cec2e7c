"""Identifiers: UUIDv7 (RFC 9562, section 5.7), so that rows are stored in the order they were made."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

_last = 0


def new_id() -> UUID:
    """A new UUIDv7: 48 bits of Unix milliseconds, 12 bits that keep ids of one process ascending, 62 random bits."""
    global _last
    # RFC 9562, section 6.2, method 3: the 12 bits after the milliseconds hold the fraction of the millisecond.
    nanoseconds = time.time_ns()
    stamp = ((nanoseconds // 1_000_000) << 12) | ((nanoseconds % 1_000_000) * 4096 // 1_000_000)
    _last = stamp = max(stamp, _last + 1)
    value = ((stamp >> 12) << 80) | (0x7 << 76) | ((stamp & 0xFFF) << 64) | (0b10 << 62) | secrets.randbits(62)
    return UUID(int=value)
