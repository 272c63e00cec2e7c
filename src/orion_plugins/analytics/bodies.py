"""Bodies of requests with events: unpacked, bounded and read as JSON.

Events by the thousand are large, packed they are larger than they look, and read as JSON larger still: all requests
together get so many bytes of memory and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from orion_core.contracts.analytics import MAX_EVENTS, IntakeBusy, TrackBatch
from orion_core.errors import FieldError, Invalid, Malformed, TooLarge, UnsupportedMedia
from orion_core.json_body import refuse_ambiguous
from orion_core.json_value import Json
from orion_plugins.analytics.intake import shown

MAX_PACKED = 1024 * 1024
MAX_UNPACKED = 10 * 1024 * 1024
MAX_PARTS = 1_000_000
"""How many values a batch may consist of; a thousand events with all their keys are about half of that."""
ALL_AT_ONCE = 128 * 1024 * 1024
_PART = 64
"""Bytes that a value takes at least, however short it is in the body."""
_THREAD_FROM = 64 * 1024
_MAX_DIGITS = 1000
_MEMBERS = {"events", "sent_at", "source"}


class Budget:
    """Bytes that may be in use at once."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextlib.contextmanager
    def spend(self, size: int) -> Iterator[None]:
        """Use `size` bytes for as long as the block lasts; raises `IntakeBusy` when there are not so many left."""
        if size > self._left:
            raise IntakeBusy("too many events are being taken in: send them again", retry_after=1)
        self._left -= size
        try:
            yield
        finally:
            self._left += size


async def unpacked(body: bytes, encoding: str) -> bytes:
    """The content of `body`, which was sent with this Content-Encoding; raises `TooLarge` and `UnsupportedMedia`."""
    if len(body) > MAX_PACKED:
        raise TooLarge(f"a batch takes at most {MAX_PACKED} bytes: send fewer events at once")
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise UnsupportedMedia("send the events as they are, or with Content-Encoding: gzip")
    return await asyncio.to_thread(unpack, body)


async def memory(text: bytes) -> int:
    """About how many bytes the JSON `text` takes once it is read; raises `TooLarge` for one of too many values."""
    if len(text) > _THREAD_FROM:
        return await asyncio.to_thread(_memory, text)
    return _memory(text)


async def read(text: bytes, opted_out: bool = False) -> tuple[TrackBatch, bool]:
    """The batch in the JSON `text`, and whether it is a single event.

    It is one event, a list of events, or an object with `events` and perhaps `sent_at` and `source`. Raises
    `Malformed` for what is no JSON, and `Invalid` for a batch that is none.
    """
    if len(text) > _THREAD_FROM:
        return await asyncio.to_thread(_read, text, opted_out)
    return _read(text, opted_out)


def unpack(body: bytes) -> bytes:
    """The content of a gzip file (RFC 1952); raises `Malformed` for what is none, `TooLarge` beyond the limit."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(body, MAX_UNPACKED + 1)
    except zlib.error as error:
        raise Malformed(f"the body is not gzip: {error}") from error
    if len(found) > MAX_UNPACKED:
        raise TooLarge(f"a batch takes at most {MAX_UNPACKED} bytes unpacked: send fewer events at once")
    if not unpacker.eof or unpacker.unused_data:
        raise Malformed("the body is not gzip: it is cut off, or something follows")
    return found


def _memory(text: bytes) -> int:
    parts = sum(text.count(each) for each in (b",", b"[", b"{"))
    if parts > MAX_PARTS:
        raise TooLarge(f"a batch has at most {MAX_PARTS} values in all: send fewer events at once")
    return len(text) + parts * _PART


def _read(text: bytes, opted_out: bool) -> tuple[TrackBatch, bool]:
    refuse_ambiguous(text)
    try:
        plain = json.loads(text, parse_int=_int)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    if isinstance(plain, list):
        return _batch({"events": plain}, opted_out), False
    if not isinstance(plain, dict):
        raise _wrong("", "type", "must be an event, a list of events, or an object with events")
    if "events" in plain:
        return _batch(plain, opted_out), False
    members: dict[str, Any] = {name: plain.pop(name) for name in ("sent_at", "source") if name in plain}
    return _batch({"events": [plain], **members}, opted_out), True


def _batch(plain: dict[str, Any], opted_out: bool) -> TrackBatch:
    events = plain["events"]
    if unknown := sorted(plain.keys() - _MEMBERS):
        raise _wrong(shown(unknown[0]), "unknown", "is no field of a batch")
    if not isinstance(events, list) or not events:
        raise _wrong("events", "type", "must be a list of events")
    if len(events) > MAX_EVENTS:
        raise _wrong("events", "too_long", f"must have at most {MAX_EVENTS} events")
    return TrackBatch(
        events=tuple(map(_json, events)),
        sent_at=_time(plain.get("sent_at")),
        source="api" if plain.get("source") is None else plain["source"],
        opted_out=opted_out,
    )


def _int(digits: str) -> int | float:
    # Python reads no longer ones. As a number beyond all bounds it spoils its event and no other.
    return int(digits) if len(digits) <= _MAX_DIGITS else math.inf


def _json(plain: Any) -> Json:
    try:
        return Json.of(plain)
    except ValueError:
        # What is no JSON although it was read (a number beyond all bounds) is refused with the others that are none.
        return Json("null")


def _time(given: Any) -> datetime | None:
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None:
        raise _wrong("sent_at", "type", "must be a time with a time zone, as RFC 3339")
    return found


def _wrong(field: str, code: str, detail: str) -> Invalid:
    return Invalid(f"{field or 'the body'}: {detail}", errors=[FieldError(field, code, detail)])
