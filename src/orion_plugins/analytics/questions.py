"""Trends and top lists: whole hours from roll-ups, what is left over at both ends from raw events.

Each question is one statement, so that it sees one state of the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from orion_core.contracts.analytics import Measure, RawGone
from orion_core.ports.database import Database
from orion_plugins.analytics import dialect
from orion_plugins.analytics.intake import FUTURE, from_milliseconds
from orion_plugins.analytics.periods import Bucket
from orion_plugins.analytics.rollups import HOUR_MS, rolled

_COUNT = {"events": "CAST(SUM(amount) AS BIGINT)", "people": "COUNT(*)"}
_FACTS = {
    "events": "SELECT bucket, value, SUM(amount) AS amount FROM ({}) AS f WHERE value IS NOT NULL GROUP BY 1, 2",
    "people": "SELECT DISTINCT bucket, value, person FROM ({}) AS f WHERE value IS NOT NULL AND person <> ''",
}
"""What is found is gone through once, and is short after that: each question takes several sums of it."""
# COUNT(DISTINCT) would sort, and by the rules of a language.
_BY_VALUE = {"events": "facts", "people": "(SELECT DISTINCT value, person FROM facts) AS v"}
_IN_ALL = {"events": "facts", "people": "(SELECT DISTINCT person FROM facts) AS p"}
Span = tuple[int, int, int]
"""The number of a bucket, and a time in it from one moment to before another one."""


@attrs.frozen
class Answer:
    """Values with their totals, largest first; `points` are counts by value and number of bucket."""

    values: tuple[tuple[str, int], ...]
    points: dict[tuple[str, int], int]
    total: int
    known: int


async def ask(
    db: Database, found: Sequence[Bucket], measure: Measure, *, name: str = "", by: str = "", limit: int = 1
) -> Answer:
    """Count the event `name` in each bucket, by the values of the property `by`; without a name by the events' names.

    Raises `RawGone` if it takes raw events that are not kept any more.
    """
    from_rollups = not by or by in (await rolled(db, [name]))[name]
    hours, ends = split(found, whole_hours=from_rollups)
    # Told at once rather than after a long search.
    _check_kept(ends, await raw_from(db))
    parts, args = [], _Arguments()
    if hours:
        parts.append(_rolled_up(hours, measure, name, by, args))
    if ends:
        parts.append(_raw(db, ends, name, by, args))
    count, most = _COUNT[measure], args.add(limit)
    order = dialect.by_bytes(db)
    rows = await db.fetch(
        f"WITH facts AS ({_FACTS[measure].format(' UNION ALL '.join(parts))}), "
        f"totals AS (SELECT value, {count} AS n FROM {_BY_VALUE[measure]} GROUP BY value), "
        f"best AS (SELECT value, n FROM totals WHERE n > 0 ORDER BY n DESC, value {order} LIMIT {most}) "
        "SELECT 'point' AS kind, facts.bucket AS bucket, facts.value AS value, "
        f"{count} AS n FROM facts JOIN best ON best.value = facts.value GROUP BY facts.bucket, facts.value "
        "UNION ALL SELECT 'value', -1, value, n FROM best "
        f"UNION ALL SELECT 'total', -1, '', {count} FROM {_IN_ALL[measure]} "
        "UNION ALL SELECT 'known', -1, '', COUNT(*) FROM totals WHERE n > 0 "
        "UNION ALL SELECT 'raw_from', -1, '', number FROM analytics_state WHERE key = 'raw_from'",
        *args.given,
    )
    by_kind: dict[str, list[dict[str, Any]]] = {"point": [], "value": [], "total": [], "known": [], "raw_from": []}
    for row in rows:
        by_kind[row["kind"]].append(row)
    # Raw events may have gone since: what counts is what was kept when they were counted.
    _check_kept(ends, _kept_from(by_kind["raw_from"]))
    best = sorted(((row["value"], row["n"]) for row in by_kind["value"]), key=lambda pair: (-pair[1], pair[0]))
    return Answer(
        values=tuple(best),
        points={(row["value"], row["bucket"]): row["n"] for row in by_kind["point"]},
        total=by_kind["total"][0]["n"] or 0,
        known=by_kind["known"][0]["n"],
    )


def split(found: Iterable[Bucket], *, whole_hours: bool) -> tuple[list[Span], list[Span]]:
    """What of each bucket is whole hours, and what is left over; all is left over unless `whole_hours`."""
    hours: list[Span] = []
    ends: list[Span] = []
    for number, bucket in enumerate(found):
        first = -(-bucket.lo // HOUR_MS) * HOUR_MS
        last = bucket.hi // HOUR_MS * HOUR_MS
        if not whole_hours or first >= last:
            ends.append((number, bucket.lo, bucket.hi))
            continue
        hours.append((number, first, last))
        ends += [(number, lo, hi) for lo, hi in ((bucket.lo, first), (last, bucket.hi)) if lo < hi]
    return hours, ends


async def raw_from(db: Database) -> int:
    """From which moment on all raw events are kept, in Unix milliseconds; 0 for ever."""
    return _kept_from(await db.fetch("SELECT number AS n FROM analytics_state WHERE key = 'raw_from'"))


def _kept_from(rows: Sequence[dict[str, Any]]) -> int:
    # Of what was received from then on everything is there, and nothing counts that was ahead by more.
    return int(rows[0]["n"]) + int(FUTURE.total_seconds() * 1000) if rows else 0


def _check_kept(ends: Sequence[Span], kept: int) -> None:
    if ends and ends[0][1] < kept:
        raise RawGone(
            f"raw events are kept from {from_milliseconds(kept):%Y-%m-%dT%H:%MZ} on, and this needs older ones: "
            "begin later, or ask for whole hours (UTC) of a property that is rolled up"
        )


class _Arguments:
    def __init__(self) -> None:
        self.given: list[Any] = []

    def add(self, argument: Any) -> str:
        self.given.append(argument)
        return f"${len(self.given)}"


def _values(spans: Sequence[Span]) -> str:
    # Numbers of our own, so no arguments: these would need a type each.
    return ", ".join(f"({number}, {lo}, {hi})" for number, lo, hi in spans)


def _spans(spans: Sequence[Span]) -> str:
    return f"(SELECT column1 AS bucket, column2 AS lo, column3 AS hi FROM (VALUES {_values(spans)}) AS v)"


def _rolled_up(hours: Sequence[Span], measure: Measure, name: str, by: str, args: _Arguments) -> str:
    table, amount, person = (
        ("analytics_counts", "r.events", "''") if measure == "events" else ("analytics_people", "1", "r.person")
    )
    named = f"r.name = {args.add(name)} AND " if name else ""
    # A constant, as the index for all names is one of rows without a property.
    of_property = f"r.property = {args.add(by)}" if by else "r.property = ''"
    return (
        f"SELECT s.bucket AS bucket, {'r.value' if name else 'r.name'} AS value, {amount} AS amount, "
        f"{person} AS person FROM {_spans(hours)} AS s "
        f"JOIN {table} AS r ON {named}{of_property} AND r.hour_ms >= s.lo AND r.hour_ms < s.hi "
        "JOIN analytics_hours AS h ON h.hour_ms = r.hour_ms AND h.generation = r.generation"
    )


def _raw(db: Database, ends: Sequence[Span], name: str, by: str, args: _Arguments) -> str:
    named = f"e.name = {args.add(name)} AND " if name else ""
    value = "e.name" if not name else "''"
    if by:
        value = dialect.value_of(db, "e.dims", args.add(by))
    return (
        f"SELECT s.bucket AS bucket, {value} AS value, 1 AS amount, "
        f"e.person AS person FROM {_spans(ends)} AS s "
        f"JOIN analytics_events AS e ON {named}e.counted AND e.at_ms >= s.lo AND e.at_ms < s.hi"
    )
