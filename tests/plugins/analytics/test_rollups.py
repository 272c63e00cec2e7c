"""Y13: whatever happened in whichever order, answers equal those counted one raw event at a time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from brute import FixedClock, analytics, batch, brute_top, brute_trend, empty, event, person, raw, send, someone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orion_core.context import SYSTEM, acting
from orion_core.contracts.analytics import TopQuestion, TrendQuestion
from orion_core.contracts.users import UserErased
from orion_plugins.analytics import rebuilds

ZONES = (
    "UTC",
    "Europe/Vienna",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Australia/Adelaide",
    "Pacific/Chatham",
)
# Clocks change in the first week of these in Europe, America and the south.
EPOCHS = (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 3, 7, tzinfo=UTC))
NAMES = ("opened", "closed", 'größer, "und" \'; --')
VALUES: tuple[Any, ...] = ("a", "b", "=1+1", "ä" * 120, 1, 1.5, True, None, ["x"], "")

MINUTES = (0, 0.001, 14, 15, 29.999, 30, 44, 45, 59.999)
# Few hours and few minutes, so that events and questions meet in them.
moments = st.builds(
    lambda day, hour, minute: timedelta(days=day, hours=hour, minutes=minute),
    st.integers(0, 3),
    st.sampled_from([0, 1, 6, 7, 13, 18, 23]),
    st.sampled_from(MINUTES),
)
properties = st.dictionaries(st.sampled_from(["plan", "page", "odd\".$[0]'"]), st.sampled_from(VALUES), max_size=3)
tracked = st.tuples(
    st.integers(0, 200),
    st.integers(0, 3),
    moments,
    st.sampled_from(NAMES),
    properties,
    st.sampled_from(["", "v1", "v2"]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(tracked, min_size=1, max_size=20)),
        st.tuples(st.just("again"), st.integers(0, 5)),
        st.tuples(st.just("erase"), st.integers(0, 3)),
        st.tuples(st.just("rebuild"), st.tuples(moments, moments)),
        st.tuples(st.just("begin a rebuild"), st.integers(0, 3)),
        st.tuples(st.just("finish it"), st.none()),
    ),
    min_size=1,
    max_size=10,
)
asked = st.tuples(
    moments,
    moments,
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(ZONES),
    st.sampled_from(["events", "people"]),
    st.sampled_from(["", "plan", "page", "odd\".$[0]'"]),
    st.integers(1, 4),
    st.sampled_from(NAMES),
)


def test_answers_equal_those_counted_one_by_one(database_url: str, orion_runner: asyncio.Runner) -> None:
    """Y5, Y13, Y14, Y15, Y18, Y32: late, repeated, shuffled and erased events, rebuilds, days of clock change."""
    opened = analytics(database_url, FixedClock(datetime(2026, 12, 1, tzinfo=UTC)))
    service = orion_runner.run(opened.__aenter__())
    try:

        @settings(
            max_examples=60,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
            database=None,
        )
        @given(st.sampled_from(EPOCHS), steps, st.lists(asked, min_size=4, max_size=8))
        def holds(epoch: datetime, todo: list[Any], questions: list[Any]) -> None:
            orion_runner.run(check(service, epoch, todo, questions))

        holds()
    finally:
        orion_runner.run(opened.__aexit__(None, None, None))


async def check(service: Any, epoch: datetime, todo: list[Any], questions: list[Any]) -> None:
    await empty(service)
    sent: list[tuple[int, list[Any]]] = []
    begun = None
    for what, given_ in todo:
        if what == "send":
            for who in sorted({each[1] for each in given_}):
                events = [
                    {**event(message, epoch + at, name, **props), "anonymous_id": visitor}
                    for message, by, at, name, props, visitor in given_
                    if by == who
                ]
                sent.append((who, events))
                if who:
                    await send(service, who, *events)
                else:
                    with acting(SYSTEM):
                        await service.track_batch(batch(*events))
        elif what == "again" and sent:
            who, events = sent[given_ % len(sent)]
            receipt = await send(service, who, *reversed(events))
            assert receipt.accepted + receipt.duplicate + receipt.refused == len(events)
        elif what == "erase":
            async with service.db.transaction():
                await service.forget(UserErased(user_id=person(given_), erased_at=epoch))
            left = await service.db.fetch(
                "SELECT (SELECT COUNT(*) FROM analytics_events WHERE user_id = $1) + "
                "(SELECT COUNT(*) FROM analytics_people WHERE person = $2) AS n",
                person(given_),
                f"u:{person(given_)}",
            )
            assert left[0]["n"] == 0
        elif what == "rebuild":
            lo, hi = sorted(given_)
            await service.carry_out_rebuild(
                await service.write_rebuild(epoch + lo, epoch + hi + timedelta(milliseconds=1))
            )
        elif what == "begin a rebuild":
            begun = await service.write_rebuild(epoch, epoch + timedelta(days=3))
            await rebuilds.begin(service.db, begun)
            for _ in range(given_):
                await rebuilds.step(service.db, begun)
            await rebuilds.sweep(service.db)
        elif what == "finish it" and begun:
            await service.carry_out_rebuild(begun)
    rows = await raw(service)
    with acting(SYSTEM):
        for lo, hi, interval, zone, measure, by, limit, name in questions:
            start, end = epoch + min(lo, hi), epoch + max(lo, hi) + timedelta(milliseconds=lo == hi)
            question = TrendQuestion(
                name=name, start=start, end=end, interval=interval, zone=zone, measure=measure, by=by, limit=limit
            )
            brute_trend(rows, question, await service.trend(question))
            top = TopQuestion(start=start, end=end, name=name if by else "", by=by, measure=measure, limit=limit)
            brute_top(rows, top, await service.top(top))
    counts = await service.db.fetch("SELECT COUNT(*) AS n FROM analytics_counts WHERE events <= 0")
    assert counts[0]["n"] == 0


async def test_more_properties_than_are_rolled_up_are_counted_all_the_same(database_url: str) -> None:
    """Y13, Y15: which properties are rolled up shows in no number."""
    epoch = EPOCHS[0]
    async with analytics(database_url, FixedClock(datetime(2026, 12, 1, tzinfo=UTC))) as service:
        for number in range(30):
            many = {f"p{each}": number % 3 for each in range(number + 1)}
            await send(service, number % 4, event(number, epoch + timedelta(minutes=7 * number), **many))
        rolled = await service.db.fetch("SELECT COUNT(*) AS n FROM analytics_properties")
        rows = await raw(service)
        with acting(SYSTEM):
            for by in ("p0", "p5", "p19", "p20", "p29"):
                for measure in ("events", "people"):
                    question = TrendQuestion(
                        name="opened",
                        start=epoch,
                        end=epoch + timedelta(days=1),
                        by=by,
                        measure=measure,
                        interval="hour",
                    )
                    brute_trend(rows, question, await service.trend(question))

    assert rolled[0]["n"] == 20
    assert someone(1).user_id == person(1)
