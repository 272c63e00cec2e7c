"""Roll-ups: what each event adds to them, and how that is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from orion_core.ports.database import Database
from orion_plugins.analytics import dialect
from orion_plugins.analytics.intake import Event

HOUR_MS = 3_600_000
MAX_ROLLED = 20
"""How many properties of one event name are rolled up; by all others an answer is broken down from raw events."""
_CHUNKS = (256, 32, 4, 1)
"""Rows per statement: a few sizes, so that few statements are prepared."""

_EVENT = (
    "id, origin, message_id, name, type, user_id, anonymous_id, person, at_ms, received_ms, source, counted, "
    "properties, context, dims"
)
CountKey = tuple[str, str, int, str]
PersonKey = tuple[str, str, int, str, str]


@attrs.frozen
class Counted:
    """What rolling up needs to know of an event."""

    name: str
    at_ms: int
    person: str
    dims: Mapping[str, str]


class Increments:
    """What events add to roll-ups, summed up; the same for events taken in and for a rebuild."""

    def __init__(self) -> None:
        self.counts: Counter[CountKey] = Counter()
        self.people: Counter[PersonKey] = Counter()

    def add(self, event: Counted, rolled: Iterable[str]) -> None:
        """Add one event; `rolled` are the properties of its name that are rolled up."""
        hour = event.at_ms - event.at_ms % HOUR_MS
        pairs = [("", ""), *((key, event.dims[key]) for key in rolled if key in event.dims)]
        for key, text in pairs:
            self.counts[event.name, key, hour, text] += 1
            if event.person:
                self.people[event.name, key, hour, text, event.person] += 1

    @property
    def hours(self) -> list[int]:
        """The hours that are touched."""
        return sorted({key[2] for key in self.counts})

    async def write(self, db: Database, generations: Mapping[int, Iterable[int]]) -> None:
        """Add everything to the `generations` of each hour, in the running transaction."""
        # In one order everywhere, so that no two transactions wait for each other.
        await upsert(
            db,
            "analytics_counts",
            ("name", "property", "hour_ms", "value", "generation"),
            sorted((*key, each, add) for key, add in self.counts.items() for each in generations.get(key[2], ())),
        )
        await upsert(
            db,
            "analytics_people",
            ("name", "property", "hour_ms", "value", "person", "generation"),
            sorted((*key, each, add) for key, add in self.people.items() for each in generations.get(key[2], ())),
        )


async def upsert(db: Database, table: str, key: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Add the last member of each row to the column `events` of the row of `table` with this `key`."""
    columns = ", ".join((*key, "events"))
    tail = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET events = {table}.events + EXCLUDED.events"
    for chunk in chunks(rows):
        await db.fetch(f"INSERT INTO {table} ({columns}) VALUES {places(chunk)} {tail}", *flat(chunk))


async def insert_new(db: Database, events: Sequence[Event]) -> list[Event]:
    """Store raw events, in the running transaction; returns those that were not there before."""
    stored: set[tuple[str, str]] = set()
    rows = [
        (
            event.id,
            event.origin,
            event.message_id,
            event.name,
            event.type,
            event.user_id,
            event.anonymous_id,
            event.person,
            event.at_ms,
            event.received_ms,
            event.source,
            event.counted,
            event.properties,
            event.context,
            json.dumps(event.dims, ensure_ascii=False),
        )
        for event in sorted(events, key=lambda event: (event.origin, event.message_id))
    ]
    for chunk in chunks(rows):
        stored.update(
            (row["origin"], row["message_id"])
            for row in await db.fetch(
                f"INSERT INTO analytics_events ({_EVENT}) VALUES {places(chunk)} "
                "ON CONFLICT (origin, message_id) DO NOTHING RETURNING origin, message_id",
                *flat(chunk),
            )
        )
    return [event for event in events if (event.origin, event.message_id) in stored]


async def enter(db: Database, events: Iterable[Event]) -> dict[str, frozenset[str]]:
    """Begin to take in `events` in the running transaction: take the lock, see to it that their properties are known.

    Returns the properties that are rolled up, by event name.
    """
    wanted: dict[str, set[str]] = {}
    for event in events:
        if event.counted:
            wanted.setdefault(event.name, set()).update(event.dims)
    known = await rolled(db, wanted)
    if not any(_lacking(wanted, known)):
        await dialect.share(db)
        return known
    # Alone, as everybody must agree from when on a property is rolled up: it then is so for all events that have it.
    await dialect.alone(db)
    known = await rolled(db, wanted)
    for name, key in _lacking(wanted, known):
        if len(known[name]) < MAX_ROLLED:
            await db.fetch("INSERT INTO analytics_properties (name, property) VALUES ($1, $2)", name, key)
            known[name] |= {key}
    return known


async def rolled(db: Database, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """The properties of each of the events called `names` that are rolled up."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for chunk in chunks([(name,) for name in sorted(found)]):
        for row in await db.fetch(
            f"SELECT name, property FROM analytics_properties WHERE name IN ({numbers(len(chunk))})", *flat(chunk)
        ):
            found[row["name"]].add(row["property"])
    return {name: frozenset(keys) for name, keys in found.items()}


async def generations(db: Database, hours: Sequence[int]) -> dict[int, list[int]]:
    """The generations of each hour that events are added to, in the running transaction; makes hours that are new."""
    found = await _generations(db, hours)
    if missing := [(hour,) for hour in hours if hour not in found]:
        for chunk in chunks(missing):
            values = ", ".join(f"(${number}, 0)" for number in range(1, len(chunk) + 1))
            await db.fetch(
                f"INSERT INTO analytics_hours (hour_ms, generation) VALUES {values} ON CONFLICT (hour_ms) DO NOTHING",
                *flat(chunk),
            )
        found |= await _generations(db, [hour for (hour,) in missing])
    return found


async def _generations(db: Database, hours: Sequence[int]) -> dict[int, list[int]]:
    found = {}
    for chunk in chunks([(hour,) for hour in hours]):
        for row in await db.fetch(
            f"SELECT hour_ms, generation, building FROM analytics_hours WHERE hour_ms IN ({numbers(len(chunk))})",
            *flat(chunk),
        ):
            found[row["hour_ms"]] = [row["generation"], *([] if row["building"] is None else [row["building"]])]
    return found


def _lacking(wanted: Mapping[str, Iterable[str]], known: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, str]]:
    for name in sorted(wanted):
        if len(known[name]) < MAX_ROLLED:
            for key in sorted(wanted[name]):
                if key not in known[name]:
                    yield name, key


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """`rows` in pieces of a few sizes."""
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def numbers(count: int, first: int = 1) -> str:
    """``$1, $2 ...``"""
    return ", ".join(f"${number}" for number in range(first, first + count))


def places(rows: Sequence[Sequence[Any]]) -> str:
    """``($1, $2), ($3, $4) ...``: a place for each member of each row."""
    width = len(rows[0])
    return ", ".join(f"({numbers(width, index * width + 1)})" for index in range(len(rows)))


def flat(rows: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """The members of all rows, one after the other."""
    return (member for row in rows for member in row)
