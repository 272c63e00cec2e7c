"""Envelopes as AMQP messages: CloudEvents 1.0.2 over AMQP in binary mode (ES1 to ES5).

Every attribute is a header ``cloudEvents_<name>``; ``datacontenttype`` is the content type. The starting trace is the
attribute ``cloudEvents_traceparent`` and never changes; the hop's own is in the plain headers ``traceparent`` and
``tracestate``, with a new parent id for every publish. Read are also the separator ``cloudEvents:`` and a time in
integer milliseconds.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pika import BasicProperties

from orion_core.context import child_traceparent
from orion_core.events import Envelope

_PREFIXES = ("cloudEvents_", "cloudEvents:")
_TYPE = re.compile(r"orion\.([^.]+\..+)\.v([1-9][0-9]*)")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

MAX_BODY = 16 * 1024 * 1024
MAX_HEADERS = 64 * 1024
"""Headers travel in one frame, which the broker limits to 128 KiB; a larger one would cost the connection."""


class NotAnEvent(Exception):
    """A message that is no event of ours and never will be; says why."""


def encode(envelope: Envelope) -> tuple[BasicProperties, bytes]:
    """`envelope` as a persistent message; raises ValueError for one that AMQP cannot carry."""
    body = envelope.data.encode()
    attributes = {
        "id": str(envelope.id),
        "source": envelope.source,
        "type": envelope.type,
        "specversion": "1.0",
        "time": envelope.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "subject": envelope.subject,
        "dataschema": envelope.dataschema,
        "correlationid": envelope.correlation_id,
        "causationid": envelope.causation_id,
        "sequence": str(envelope.sequence),
        "traceparent": envelope.started,
        "originator": envelope.originator,
    }
    headers: dict[str, Any] = {f"cloudEvents_{name}": text for name, text in attributes.items() if text}
    headers |= {"heard": envelope.heard, **hop(envelope.started)}
    if envelope.tracestate:
        headers["tracestate"] = envelope.tracestate
    size = sum(len(name) + len(str(text).encode()) for name, text in headers.items())
    if size > MAX_HEADERS or len(body) > MAX_BODY:
        raise ValueError(f"event {envelope.id} has {size} bytes of headers and {len(body)} of data: too much for AMQP")
    properties = BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        message_id=attributes["id"],
        correlation_id=_short(envelope.correlation_id),
        timestamp=int(envelope.time.timestamp()),
        type=_short(envelope.type),
        app_id=_short(envelope.service),
        headers=headers,
    )
    return properties, body


def hop(started: str) -> dict[str, str]:
    """The header ``traceparent`` of one more publish in the trace `started`."""
    if not _TRACEPARENT.fullmatch(started):
        return {}
    return {"traceparent": child_traceparent(started)}


def decode(properties: BasicProperties, body: bytes) -> Envelope:
    """The envelope in a message; raises `NotAnEvent` with the reason when there is none."""
    headers = properties.headers or {}
    prefix = next((prefix for prefix in _PREFIXES if f"{prefix}specversion" in headers), None)
    if prefix is None:
        raise NotAnEvent("no CloudEvents headers: cloudEvents_specversion is missing")

    def text(name: str, default: str | None = None) -> str:
        found = headers.get(f"{prefix}{name}", default)
        if not isinstance(found, str):
            raise NotAnEvent(f"{name} is missing" if found is None else f"{name} must be text")
        return found

    if text("specversion") != "1.0":
        raise NotAnEvent(f"unknown specversion {text('specversion')!r}: this reads 1.0")
    kind = _TYPE.fullmatch(text("type"))
    if kind is None:
        raise NotAnEvent(f"type {text('type')!r} is not of the form orion.<family>.<fact>.v<version>")
    data = _json(body)
    return Envelope(
        id=_uuid(text("id")),
        name=kind[1],
        version=int(kind[2]),
        source=text("source"),
        subject=text("subject", ""),
        sequence=_integer(text("sequence", "0")),
        time=_time(headers.get(f"{prefix}time")),
        data=data,
        correlation_id=text("correlationid", properties.correlation_id or text("id")),
        causation_id=text("causationid", ""),
        started=text("traceparent", ""),
        tracestate=_plain(headers, "tracestate"),
        originator=text("originator", ""),
        heard=headers.get("heard") is True,
    )


def started(properties: BasicProperties) -> str:
    """The trace in which the event was published; empty where its publisher named none."""
    headers = properties.headers or {}
    found = (headers.get(f"{prefix}traceparent") for prefix in _PREFIXES)
    return next((text for text in found if isinstance(text, str)), "")


def traceparent(properties: BasicProperties) -> str:
    """The hop's own trace context, or the starting one where a publisher sent no other."""
    return _plain(properties.headers or {}, "traceparent") or started(properties)


def normalised(headers: dict[Any, Any] | None) -> dict[str, Any]:
    """`headers` with plain integers, whatever width the broker sent them in, and with names that are text."""
    return {
        name if isinstance(name, str) else name.decode("utf-8", "replace"): (
            given if isinstance(given, str) else _normalised(given)
        )
        for name, given in (headers or {}).items()
    }


def _normalised(given: Any) -> Any:
    if isinstance(given, int) and not isinstance(given, bool):
        return int(given)
    if isinstance(given, dict):
        return normalised(given)
    if isinstance(given, list):
        return [_normalised(item) for item in given]
    return given


def _short(text: str) -> str | None:
    # AMQP's short strings hold 255 bytes; the headers have the whole.
    return text if 0 < len(text.encode()) <= 255 else None


def _json(body: bytes) -> str:
    try:
        text = body.decode()
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAnEvent(f"the body is no JSON: {error}") from error
    return text


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotAnEvent(f"id {text!r} is no UUID") from error


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise NotAnEvent(f"sequence {text!r} is no whole number")
    return int(text)


def _time(given: Any) -> datetime:
    try:
        if isinstance(given, datetime):
            return given.astimezone(UTC)
        if isinstance(given, int) and not isinstance(given, bool):
            return datetime.fromtimestamp(given / 1000, UTC)
        if isinstance(given, str):
            found = datetime.fromisoformat(given)
            if found.tzinfo is not None:
                return found.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise NotAnEvent(f"time {given!r} is no time") from error
    raise NotAnEvent(f"time {given!r} is neither an RFC 3339 time nor integer milliseconds")


def _plain(headers: dict[str, Any], name: str) -> str:
    found = headers.get(name, "")
    return found if isinstance(found, str) else ""
