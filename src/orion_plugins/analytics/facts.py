"""The facts of the platform that are counted by themselves, as pure functions.

They come from services that may not be installed, so they are known by name and not by class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core.events import Envelope


@attrs.frozen
class Fact:
    """Which fields of an event tell its time (the envelope's if empty), its person, and what to break it down by."""

    time: str = ""
    person: str = ""
    properties: tuple[str, ...] = ()


FACTS: Mapping[str, Fact] = {
    "auth.session_started": Fact("started_at", "user_id", ("method",)),
    "notification.sent": Fact("", "user_id", ("type", "channel")),
    "storage.object_created": Fact("", "owner_id", ("bucket", "content_type")),
    "storage.object_replaced": Fact("", "owner_id", ("bucket", "content_type")),
    "user.profile_changed": Fact("", "user_id"),
    "user.registered": Fact("registered_at", "user_id"),
    "webhook.delivered": Fact("", "", ("type",)),
}
"""What is counted, by the name of its event."""


@attrs.frozen
class Happened:
    """A fact as it is counted. `properties` are texts, never personal ones."""

    name: str
    at: datetime
    user_id: UUID | None
    source: str
    properties: Mapping[str, Any]


def happened(envelope: Envelope) -> Happened | None:
    """What `envelope` says, or None if it is nothing that is counted, or says nothing any more.

    A later version of an event may lack a field: it is counted all the same.
    """
    fact = FACTS.get(envelope.name)
    if fact is None:
        return None
    # Core blanks what was told of somebody who was erased, and a replay brings it again.
    data = json.loads(envelope.data or "null")
    if not isinstance(data, dict):
        return None
    return Happened(
        name=envelope.name,
        at=_time(data.get(fact.time)) or envelope.time,
        user_id=_id(data.get(fact.person)),
        source=f"orion/{envelope.service}"[:50],
        properties={field: data[field] for field in fact.properties if isinstance(data.get(field), str)},
    )


def _time(given: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None


def _id(given: Any) -> UUID | None:
    try:
        return UUID(given)
    except (TypeError, ValueError, AttributeError):
        return None
