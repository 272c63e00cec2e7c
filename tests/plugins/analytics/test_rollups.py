"""Y13: whatever happened in whichever order, answers equal those counted one raw event at a time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from brute import FixedClock, analytics, batch, brute_top, brute_trend, empty, event, person, raw, send, someone

from orion_core.context import SYSTEM, acting
from orion_core.contracts.analytics import RawGone, TopQuestion, TrendQuestion
from orion_core.contracts.users import UserErased
from orion_plugins.analytics import forgetting, rebuilds

ZONES = (
    "UTC",
    "Europe/Vienna",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Australia/Adelaide",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
)
WHOLE_HOURS = ZONES[:3]
# Where clocks change, forwards or back, within four days of these.
EPOCHS = (
    (datetime(2026, 3, 28, tzinfo=UTC), ("Europe/Vienna",)),
    (datetime(2026, 10, 24, tzinfo=UTC), ("Europe/Vienna",)),
    (datetime(2026, 3, 7, tzinfo=UTC), ("America/New_York", "America/St_Johns")),
    (datetime(2026, 10, 31, tzinfo=UTC), ("America/New_York", "America/St_Johns")),
    (datetime(2026, 4, 4, tzinfo=UTC), ("Australia/Adelaide", "Pacific/Chatham", "Australia/Lord_Howe")),
    (datetime(2026, 9, 26, tzinfo=UTC), ("Pacific/Chatham",)),
    (datetime(2026, 10, 3, tzinfo=UTC), ("Australia/Adelaide", "Australia/Lord_Howe")),
)
SEEDS = 40
NOW = datetime(2026, 12, 1, tzinfo=UTC)
NAMES = ("opened", "closed", 'größer, "und" \'; --')
VALUES: tuple[Any, ...] = ("a", "b", "=1+1", "ä" * 120, 1, 1.5, True, None, ["x"], "")

# Few hours and few minutes, so that events, questions and changes of clocks meet in them.
HOURS = (0, 1, 4, 5, 6, 7, 13, 14, 15, 16, 18, 23)
MINUTES = (0, 0, 0, 0.001, 14, 15, 29.999, 30, 44, 45, 59.999)
PROPERTIES = ("plan", "page", "odd\".$[0]'")
STEPS = (
    "send",
    "send",
    "send",
    "again",
    "erase",
    "rebuild",
    "begin a rebuild",
    "begin a rebuild",
    "finish it",
    "purge",
)


class Dice:
    """What happens in one turn of the property: all of it follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.roll = random.Random(seed)
        self.epoch, self.changing = EPOCHS[seed % len(EPOCHS)]

    def moment(self) -> timedelta:
        return timedelta(days=self.roll.randint(0, 3), hours=self.roll.choice(HOURS), minutes=self.roll.choice(MINUTES))

    def tracked(self) -> tuple[Any, ...]:
        keys = self.roll.sample(PROPERTIES, self.roll.randint(0, 3))
        return (
            self.roll.randint(0, 300),
            self.roll.randint(0, 3),
            self.moment(),
            self.roll.choice(NAMES),
            {key: self.roll.choice(VALUES) for key in keys},
            self.roll.choice(["", "v1", "v2"]),
        )

    def steps(self) -> Iterator[tuple[str, Any]]:
        # Without raw events most questions end, so these go seldom.
        chosen = [each for each in STEPS if each != "purge" or self.roll.random() < 0.3]
        for what in ("send", *self.roll.choices(chosen, k=12)):
            if what == "send":
                yield what, [self.tracked() for _ in range(self.roll.randint(1, 60))]
            elif what == "rebuild":
                yield what, (self.moment(), self.moment())
            else:
                yield what, self.roll.randint(0, 9)

    def questions(self) -> Iterator[tuple[Any, ...]]:
        for interval in ("hour", "day", "week", "month"):
            for measure in ("events", "people"):
                yield (
                    min(self.moment(), self.moment(), self.moment()),
                    max(self.moment(), self.moment(), self.moment()),
                    interval,
                    self.roll.choice(self.roll.choice((ZONES, self.changing))),
                    measure,
                    self.roll.choice(["", "", *PROPERTIES]),
                    self.roll.randint(1, 4),
                    self.roll.choice(NAMES),
                )


async def test_answers_equal_those_counted_one_by_one(database_url: str) -> None:
    """Y5, Y13, Y14, Y15, Y18, Y32: late, repeated, shuffled, removed and erased events, rebuilds, changes of clocks."""
    counted = 0
    async with analytics(database_url, FixedClock(NOW), raw_days=30) as service:
        for seed in range(SEEDS):
            dice = Dice(seed)
            try:
                counted += await check(service, dice.epoch, list(dice.steps()), list(dice.questions()))
            except BaseException as error:
                error.add_note(f"with the seed {seed}")
                raise
    # The events of all answers: a property of empty tables says nothing.
    assert counted > 30 * SEEDS


async def check(service: Any, epoch: datetime, todo: list[Any], questions: list[Any]) -> int:
    """Let `todo` happen, compare the answers to `questions`, and return how many events they counted."""
    await empty(service)
    service.clock.at = NOW
    removed: list[dict[str, Any]] = []
    purged = False
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
                await service.forget(UserErased(user_id=person(given_ % 4), erased_at=epoch))
            left = await service.db.fetch(
                "SELECT (SELECT COUNT(*) FROM analytics_events WHERE user_id = $1) + "
                "(SELECT COUNT(*) FROM analytics_people WHERE person = $2) AS n",
                person(given_ % 4),
                f"u:{person(given_ % 4)}",
            )
            assert left[0]["n"] == 0
        elif what == "rebuild":
            lo, hi = sorted(given_)
            with pytest.raises(RawGone) if purged else contextlib.nullcontext():
                await service.carry_out_rebuild(
                    await service.write_rebuild(epoch + lo, epoch + hi + timedelta(milliseconds=1))
                )
        elif what == "begin a rebuild" and not purged:
            begun = await service.write_rebuild(epoch, epoch + timedelta(days=3))
            await rebuilds.begin(service.db, begun)
            for _ in range(given_ * 4):
                await rebuilds.step(service.db, begun)
            await rebuilds.sweep(service.db)
        elif what == "finish it" and begun:
            await service.carry_out_rebuild(begun)
        elif what == "purge":
            before = await raw(service)
            service.clock.at += timedelta(days=31)
            await service.purge()
            assert await raw(service) == []
            removed += before
            purged = True
    # What roll-ups still count although it is raw no more; the erased count nowhere.
    marks = {row["person"] for row in await service.db.fetch("SELECT person FROM analytics_erased")}
    rows = [*await raw(service), *(row for row in removed if forgetting.mark(row["person"]) not in marks)]
    counted = 0
    with acting(SYSTEM):
        for lo, hi, interval, zone, measure, by, limit, name in questions:
            start, end = epoch + min(lo, hi), epoch + max(lo, hi) + timedelta(milliseconds=lo == hi)
            question = TrendQuestion(
                name=name, start=start, end=end, interval=interval, zone=zone, measure=measure, by=by, limit=limit
            )
            with may_need_raw(purged, question):
                trend = await service.trend(question)
                brute_trend(rows, question, trend)
                counted += trend.total
            top = TopQuestion(start=start, end=end, name=name if by else "", by=by, measure=measure, limit=limit)
            with may_need_raw(purged, question):
                brute_top(rows, top, await service.top(top))
    counts = await service.db.fetch("SELECT COUNT(*) AS n FROM analytics_counts WHERE events <= 0")
    assert counts[0]["n"] == 0
    return counted


@contextlib.contextmanager
def may_need_raw(purged: bool, question: TrendQuestion) -> Iterator[None]:
    """Only what is not whole hours of what is rolled up may be refused, and only once raw events are gone."""
    try:
        yield
    except RawGone:
        assert purged
        assert question.start is not None
        assert question.end is not None
        whole = question.start.timestamp() % 3600 == question.end.timestamp() % 3600 == 0
        assert question.by or not whole or question.zone not in WHOLE_HOURS


async def test_more_properties_than_are_rolled_up_are_counted_all_the_same(database_url: str) -> None:
    """Y13, Y15: which properties are rolled up shows in no number."""
    epoch = EPOCHS[0][0]
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
