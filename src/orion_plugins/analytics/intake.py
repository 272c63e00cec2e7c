"""From what a sender said to the row that is kept, or the reason why not, as pure functions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import attrs

from orion_core.contracts.analytics import Track
from orion_core.errors import FieldError, Invalid
from orion_core.ids import new_id
from orion_core.json_value import Json
from orion_plugins.analytics import redaction
from orion_plugins.analytics.facts import FACTS, Happened

MAX_PROPERTIES = 255
MAX_BYTES = 32 * 1024
MAX_VALUE = 100
"""How many characters of a value take part in a break-down."""
MAX_KEY = 100
FUTURE = timedelta(hours=23)
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_FIELDS = {field.name for field in attrs.fields(cast("type[attrs.AttrsInstance]", Track))}
_NOBODY = {"", "null", "undefined", "none", "nil", "nan", "guest", "anonymous", "unknown", "0", "-1", "[object object]"}


@attrs.frozen
class Event:
    """One event as it will be kept. `warning` is what is odd about it, as code and detail."""

    id: UUID
    origin: str
    message_id: str
    name: str
    type: str
    user_id: UUID | None
    anonymous_id: str
    person: str
    at_ms: int
    received_ms: int
    source: str
    counted: bool
    properties: str
    context: str
    dims: Mapping[str, str]
    warning: tuple[str, str] = ("", "")


@attrs.frozen
class Sender:
    """Who sends, and when: the same for all events of a batch. `may_name` says whether that is the platform itself."""

    user_id: UUID | None
    may_name: bool
    source: str
    received: datetime
    sent: datetime | None


def read(given: Any, sender: Sender) -> Event:
    """The event in `given`, a JSON object with the fields of `Track`; raises `Invalid` for one that is refused."""
    if not isinstance(given, dict):
        raise _refusal("", "type", "must be a JSON object")
    if unknown := sorted(given.keys() - _FIELDS):
        raise _refusal(shown(unknown[0]), "unknown", "is no field of an event")
    fields = {key: inner for key, inner in given.items() if inner is not None}
    odd = ("", "")
    if "timestamp" in fields:
        fields["timestamp"] = _read_time(fields["timestamp"])
        if fields["timestamp"] is None:
            odd = ("timestamp_unreadable", "the time of receipt is taken: send RFC 3339 with a time zone")
    if "user_id" in fields:
        fields["user_id"] = _read_id(fields["user_id"])
    for name in ("properties", "context"):
        if name in fields:
            fields[name] = _read_json(name, fields[name])
    for name in ("name", "message_id"):
        if name not in fields:
            raise _refusal(name, "missing", "is missing")
    return take(Track(**fields), sender, odd)


def take(track: Track, sender: Sender, odd: tuple[str, str] = ("", "")) -> Event:
    """The event to keep of `track`; raises `Invalid` for one that is refused."""
    if track.name in FACTS:
        raise _refusal("name", "reserved", f"{track.name} is told by the platform itself: choose another name")
    for name, text in (("name", track.name), ("message_id", track.message_id), ("type", track.type)):
        if redaction.is_personal(text):
            raise _refusal(name, "personal", "must not contain an address, of email or of the network")
    if track.user_id not in (None, sender.user_id) and not sender.may_name:
        raise _refusal("user_id", "forbidden", "is the caller's own or left out")
    properties = _object("properties", track.properties)
    context = _object("context", track.context)
    at, in_future = _corrected(track.timestamp, sender)
    anonymous_id = track.anonymous_id.strip()
    if anonymous_id.lower() in _NOBODY or redaction.is_personal(anonymous_id):
        if anonymous_id:
            odd = ("nobody", "anonymous_id names nobody and is dropped: make a random one for each visitor")
        anonymous_id = ""
    user_id = track.user_id if sender.may_name and track.user_id else sender.user_id
    if in_future:
        odd = ("future", "the timestamp lies more than 23 hours ahead: the event is kept and not counted")
    return Event(
        id=new_id(),
        origin="api",
        message_id=track.message_id,
        name=track.name,
        type=track.type,
        user_id=user_id,
        anonymous_id=anonymous_id,
        person=person_of(user_id, anonymous_id),
        at_ms=milliseconds(at),
        received_ms=milliseconds(sender.received),
        source=sender.source,
        counted=not in_future,
        properties=_dump(properties),
        context=_dump(context),
        dims=dims_of(properties),
        warning=odd,
    )


def shown(key: str) -> str:
    """What somebody called a field, as an answer can say it."""
    return redaction.text(key[:100])


def told(fact: Happened, event_id: UUID, received: datetime) -> Event:
    """The event to keep of a fact of the platform."""
    return Event(
        id=new_id(),
        origin="platform",
        message_id=str(event_id),
        name=fact.name,
        type="fact",
        user_id=fact.user_id,
        anonymous_id="",
        person=person_of(fact.user_id, ""),
        at_ms=milliseconds(fact.at),
        received_ms=milliseconds(received),
        source=fact.source,
        counted=fact.at <= received + FUTURE,
        properties=_dump(redaction.redacted(dict(fact.properties))),
        context="{}",
        dims=dims_of(redaction.redacted(dict(fact.properties))),
    )


def person_of(user_id: UUID | None, anonymous_id: str) -> str:
    """Who counts as one person; empty for nobody."""
    if user_id is not None:
        return f"u:{user_id}"
    # Of any length outside: the keys of roll-ups are short.
    return f"a:{hashlib.sha256(anonymous_id.encode()).hexdigest()[:40]}" if anonymous_id else ""


def dims_of(properties: Mapping[str, Any]) -> dict[str, str]:
    """The properties that an answer can be broken down by: those that are texts, numbers or truths, as texts."""
    found = {}
    for key, given in properties.items():
        if 0 < len(key) <= MAX_KEY and isinstance(given, (str, int, float)):
            found[key] = (given if isinstance(given, str) else json.dumps(given))[:MAX_VALUE]
    return found


def milliseconds(at: datetime) -> int:
    """`at` in Unix milliseconds, cut."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def from_milliseconds(given: int) -> datetime:
    """The time of Unix milliseconds, in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=given)


def _corrected(timestamp: datetime | None, sender: Sender) -> tuple[datetime, bool]:
    """The time of an event by our clock, and whether it lies in the future."""
    at = sender.received
    if timestamp is not None:
        try:
            at = timestamp if sender.sent is None else sender.received - (sender.sent - timestamp)
        except OverflowError:
            raise _refusal("timestamp", "out_of_range", "must be from 2000 on") from None
    if at < OLDEST:
        raise _refusal("timestamp", "out_of_range", "must be from 2000 on")
    return at, at > sender.received + FUTURE


def _object(name: str, given: Json) -> dict[str, Any]:
    if len(given) > MAX_BYTES:
        raise _refusal(name, "too_large", f"must take at most {MAX_BYTES} bytes")
    try:
        plain = given.plain()
        if not isinstance(plain, dict):
            raise _refusal(name, "type", "must be a JSON object")
        if len(plain) > MAX_PROPERTIES:
            raise _refusal(name, "too_many", f"must have at most {MAX_PROPERTIES} keys")
        found: dict[str, Any] = redaction.redacted(plain)
        _dump(found)
    except Invalid:
        raise
    except (ValueError, RecursionError):
        raise _refusal(name, "type", "must be a JSON object, not nested too deeply") from None
    return found


def _read_json(name: str, given: Any) -> Json:
    try:
        return Json.of(given)
    except ValueError:
        raise _refusal(name, "type", "must be a JSON object") from None


def _read_time(given: Any) -> datetime | None:
    if isinstance(given, str) and len(given) <= 40:
        try:
            found = datetime.fromisoformat(given)
        except ValueError:
            return None
        return found if found.tzinfo is not None else None
    return None


def _read_id(given: Any) -> UUID:
    try:
        return UUID(given)
    except (TypeError, ValueError, AttributeError):
        raise _refusal("user_id", "type", "must be a UUID") from None


def _dump(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _refusal(field: str, code: str, detail: str) -> Invalid:
    return Invalid(f"{field or 'the event'}: {detail}", errors=[FieldError(field, code, detail)])
