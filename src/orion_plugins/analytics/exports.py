"""Answers and raw events as CSV (RFC 4180) and NDJSON, as pure functions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from orion_core.codec import to_plain
from orion_core.contracts.analytics import Performance, RawEvent, TopList, Trend
from orion_core.json_value import Json
from orion_core.paging import bad_cursor, pack, unpack

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings of formulas, and their full-width forms, which some spreadsheets take for the same."""
RAW_COLUMNS = (
    "timestamp",
    "name",
    "user_id",
    "anonymous_id",
    "properties",
    "context",
    "type",
    "source",
    "received_at",
    "counted",
    "message_id",
    "id",
)
TREND_COLUMNS = ("bucket", "value", "count")
TOP_COLUMNS = ("value", "count")
PERFORMANCE_COLUMNS = (
    "bucket",
    "service",
    "route",
    "method",
    "count",
    "errors",
    "error_share",
    "mean_ms",
    "p50_ms",
    "p75_ms",
    "p95_ms",
    "p99_ms",
)


def header(form: str, columns: Iterable[str]) -> str:
    """What comes before the rows."""
    return _csv(columns) if form == "csv" else ""


def lines(form: str, columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> str:
    """`rows` as text, a line for each."""
    if form == "csv":
        return "".join(_csv(safe(row[column]) for column in columns) for row in rows)
    return "".join(json.dumps(dict(row), ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)


def safe(given: Any) -> str:
    """`given` as a cell that no spreadsheet takes for a formula (CWE-1236): such a text gets an apostrophe in front."""
    if given is None:
        return ""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, (int, float)):
        return str(given)
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, separators=(",", ":"))
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def raw_row(event: RawEvent) -> dict[str, Any]:
    """One raw event as a row."""
    row: dict[str, Any] = {column: to_plain(getattr(event, column)) for column in RAW_COLUMNS}
    for column in ("properties", "context"):
        if isinstance(row[column], Json):
            row[column] = row[column].plain()
    return row


def trend_rows(trend: Trend) -> Iterator[dict[str, Any]]:
    """A trend as rows: the points of one series after the other."""
    for series in trend.series:
        for bucket, count in zip(trend.buckets, series.points, strict=True):
            yield {"bucket": bucket.isoformat(), "value": series.value, "count": count}


def top_rows(found: TopList) -> Iterator[dict[str, Any]]:
    """A top list as rows."""
    for item in found.items:
        yield {"value": item.value, "count": item.count}


def performance_rows(found: Performance) -> Iterator[dict[str, Any]]:
    """Performance as rows: the points of one route after the other, those without requests left out."""
    for each in found.routes:
        for bucket, point in zip(found.buckets, each.points, strict=True):
            if point.count:
                named = {"service": each.service, "route": each.route, "method": each.method}
                yield {"bucket": bucket.isoformat(), **named, **to_plain(point)}


def to_cursor(at_ms: int, event_id: UUID) -> str:
    """The cursor of the page after this raw event."""
    return pack(at_ms.to_bytes(8, "big") + event_id.bytes)


def from_cursor(cursor: str) -> tuple[int, UUID]:
    """Where the page of `cursor` begins; raises `Malformed`."""
    raw = unpack(cursor)
    if len(raw) != 24 or raw[0] > 0x7F:
        raise bad_cursor()
    return int.from_bytes(raw[:8], "big"), UUID(bytes=raw[8:])


def _csv(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
