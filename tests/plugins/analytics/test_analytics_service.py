"""The service `analytics` built by hand on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from brute import MIGRATIONS, FixedClock, analytics, brute_trend, event, person, raw, send, someone

from orion_core import codec
from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.background import spawn
from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting
from orion_core.contracts.analytics import (
    DayCount,
    EventRefused,
    ExportQuestion,
    IntakeBusy,
    MetricReport,
    NoSuchMetric,
    NoSuchRebuild,
    Outcome,
    RawGone,
    TooManyBuckets,
    TopQuestion,
    Track,
    TrackBatch,
    TrendQuestion,
)
from orion_core.contracts.auth import SessionStarted, UserRegistered
from orion_core.contracts.users import UserErased
from orion_core.errors import Forbidden, Invalid, Malformed, Unauthenticated
from orion_core.events import Envelope, event_type
from orion_core.ids import new_id
from orion_core.json_value import Json
from orion_core.migrate_new import drift
from orion_core.ports.database import Database, DatabaseUnavailable
from orion_plugins.analytics import forgetting, periods, questions, rebuilds
from orion_plugins.analytics.facts import FACTS, happened
from orion_plugins.analytics.plugin import orion_plugin
from orion_plugins.analytics.service import AnalyticsService
from orion_plugins.analytics.tables import TABLES

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MORNING = datetime(2026, 3, 2, tzinfo=UTC)
LATER = NOON + timedelta(days=60)
DAY = timedelta(days=1)


def envelope(told: Any, **more: Any) -> Envelope:
    kind = event_type(type(told))
    return Envelope(
        **{
            "id": new_id(),
            "name": kind.name,
            "version": 1,
            "source": "/orion/auth",
            "subject": "",
            "sequence": 1,
            "time": NOON,
            "data": codec.dumps(told),
            "correlation_id": "",
            "causation_id": "",
            "started": "",
            "tracestate": "",
            "originator": "system",
            "heard": False,
            **more,
        }
    )


def registered(at: datetime, who: UUID | None = None) -> UserRegistered:
    return UserRegistered(user_id=who or new_id(), email="ada@x.org", name="Ada", registered_at=at)


async def hear(service: AnalyticsService, told: Any) -> None:
    async with service.db.transaction():
        await service.count(told if isinstance(told, Envelope) else envelope(told))


async def numbers(service: AnalyticsService, **more: Any) -> tuple[int, ...]:
    given: dict[str, Any] = {"name": "opened", "start": MORNING, "end": MORNING + DAY, **more}
    with acting(SYSTEM):
        trend = await service.trend(TrendQuestion(**given))
    return trend.series[0].points if trend.series else ()


# Facts of the platform


async def test_facts_are_counted_on_their_day_oldest_first(database_url: str) -> None:
    """Y3, Y14, Y18: late news count on the day of the fact."""
    async with analytics(database_url) as service:
        for at in (NOON, NOON + timedelta(days=2), NOON, NOON - timedelta(days=40)):
            await hear(service, registered(at))

        assert await service.metric("user.registered") == MetricReport(
            name="user.registered",
            total=4,
            days=(DayCount(date(2026, 1, 21), 1), DayCount(date(2026, 3, 2), 2), DayCount(date(2026, 3, 4), 1)),
        )


async def test_counting_at_once_loses_nothing(database_url: str) -> None:
    """Y3."""
    async with analytics(database_url) as service:
        await asyncio.gather(*(hear(service, registered(NOON)) for _ in range(50)))

        assert (await service.metric("user.registered")).days == (DayCount(date(2026, 3, 2), 50),)


async def test_metrics_are_counted_apart_and_begin_with_nothing(database_url: str) -> None:
    """Y15."""
    async with analytics(database_url) as service:
        await hear(service, SessionStarted(session_id=new_id(), user_id=new_id(), method="password", started_at=NOON))

        assert await service.metric("user.registered") == MetricReport("user.registered", 0, ())
        assert (await service.metric("auth.session_started")).total == 1


async def test_a_count_that_is_rolled_back_did_not_happen(database_url: str) -> None:
    """Y5: the listener's row of the inbox and its count are one transaction."""
    async with analytics(database_url) as service:
        with contextlib.suppress(OSError):
            async with service.db.transaction():
                await service.count(envelope(registered(NOON)))
                raise OSError("gone")

        assert (await service.metric("user.registered")).total == 0


async def test_a_fact_keeps_its_person_and_nothing_personal(database_url: str) -> None:
    """Y3, Y31."""
    async with analytics(database_url) as service:
        await hear(service, registered(NOON, person(1)))
        await hear(service, SessionStarted(session_id=new_id(), user_id=person(1), method="password", started_at=NOON))
        page = await service.raw(ExportQuestion(), "", 10)

        assert [(item.name, item.user_id, item.source) for item in page.items] == [
            ("user.registered", person(1), "orion/auth"),
            ("auth.session_started", person(1), "orion/auth"),
        ]
        assert [item.properties.plain() for item in page.items] == [{}, {"method": "password"}]
        stored = json.dumps(
            [dict(row) for row in await service.db.fetch("SELECT * FROM analytics_events")], default=str
        )
        assert "ada@x.org" not in stored
        assert "Ada" not in stored


async def test_other_news_are_passed_over_and_odd_ones_are_counted(database_url: str) -> None:
    """Y3: a later version of an event may lack what this one knows."""
    async with analytics(database_url) as service:
        await hear(service, envelope(registered(NOON), name="user.something_else"))
        await hear(service, envelope(registered(NOON), data=""))
        await hear(service, envelope(registered(NOON), version=2, data='{"user_id": 5, "registered_at": "soon"}'))
        found = await service.raw(ExportQuestion(), "", 10)

        assert [(item.name, item.user_id, item.timestamp) for item in found.items] == [("user.registered", None, NOON)]


def test_a_day_is_that_of_utc() -> None:
    """Y18."""
    east = timezone(timedelta(hours=9))
    fact = happened(envelope(registered(datetime(2026, 3, 2, 8, 59, tzinfo=east))))

    assert fact is not None
    assert fact.at == datetime(2026, 3, 1, 23, 59, tzinfo=UTC)


def test_everything_is_heard_by_one_listener() -> None:
    """Y3: facts of services that are not installed are known by name."""
    heard = {listener.method: listener.names for listener in orion_plugin().listeners}

    assert heard == {"count": (), "measure": ("system.requests_measured",), "forget": ("user.erased",)}
    assert {"user.registered", "auth.session_started", "user.profile_changed", "notification.sent"} < FACTS.keys()
    assert orion_plugin().port == 3005


# Intake


async def test_every_event_of_a_batch_is_judged_by_itself(database_url: str) -> None:
    """Y1, Y2: bad events never lose good ones."""
    good = event(1, NOON)
    bad: list[tuple[Any, str]] = [
        ("text", "type"),
        ({**good, "message_id": "b", "colour": 1}, "unknown"),
        ({"message_id": "c"}, "missing"),
        ({"name": "opened"}, "missing"),
        ({**good, "name": ""}, "too_short"),
        ({**good, "name": "n" * 201}, "too_long"),
        ({**good, "name": 5}, "type"),
        ({**good, "name": "user.registered"}, "reserved"),
        ({**good, "name": "hello ada@example.org"}, "personal"),
        ({**good, "message_id": "m" * 101}, "too_long"),
        ({**good, "message_id": "a\x00b"}, "control_character"),
        ({**good, "message_id": "d", "properties": []}, "type"),
        ({**good, "message_id": "e", "properties": {"x": "y" * 33000}}, "too_large"),
        ({**good, "message_id": "f", "properties": {str(key): 1 for key in range(256)}}, "too_many"),
        ({**good, "message_id": "g", "timestamp": "1999-12-31T23:59:59Z"}, "out_of_range"),
        ({**good, "message_id": "h", "user_id": str(person(7))}, "forbidden"),
        ({**good, "message_id": "i", "user_id": "nobody"}, "type"),
        ({**good, "message_id": "10.0.0.17"}, "personal"),
        ({**good, "message_id": "j", "name": "seen 2001:db8::1"}, "personal"),
        ({**good, "message_id": "k", "type": "ada@example.org"}, "personal"),
        ({**good, "message_id": "l", "\ud800": 1}, "unknown"),
    ]
    async with analytics(database_url) as service:
        receipt = await send(service, 1, good, *(each for each, _ in bad), event(2, NOON))

        assert (receipt.accepted, receipt.duplicate, receipt.refused) == (2, 0, len(bad))
        assert [(each.index, each.status, each.code) for each in receipt.outcomes] == [
            (index, "refused", code) for index, (_, code) in enumerate(bad, 1)
        ]
        assert await numbers(service) == (2,)
        # Whatever was sent, the answer is one that can be written down.
        assert codec.dumps(receipt).encode()


async def test_what_is_odd_is_taken_in_with_a_word(database_url: str) -> None:
    """Y1, Y6."""
    async with analytics(database_url, FixedClock(NOON)) as service:
        receipt = await send(
            service,
            1,
            {**event(1, NOON), "timestamp": "yesterday"},
            {**event(2, NOON), "timestamp": "2026-03-02T12:00:00"},
            {**event(3, NOON), "anonymous_id": "null"},
            {**event(4, NOON), "anonymous_id": "ada@example.org"},
            event(5, NOON + timedelta(hours=23, seconds=1)),
            event(6, NOON + timedelta(hours=23) - timedelta(seconds=1)),
            {**event(7, NOON), "anonymous_id": "192.168.1.17"},
            {**event(8, NOON), "timestamp": "9999-12-31T23:59:59-23:59"},
        )

        assert (receipt.accepted, receipt.refused) == (8, 0)
        assert [(each.index, each.code) for each in receipt.outcomes] == [
            (0, "timestamp_unreadable"),
            (1, "timestamp_unreadable"),
            (2, "nobody"),
            (3, "nobody"),
            (4, "future"),
            (6, "nobody"),
            (7, "future"),
        ]
        assert await numbers(service, end=NOON + 2 * DAY) == (5, 1, 0)
        page = await service.raw(ExportQuestion(), "", 10)
        assert [item.anonymous_id for item in page.items] == [""] * 7
        assert [item.counted for item in page.items] == [True] * 6 + [False]


async def test_a_source_is_no_address(database_url: str) -> None:
    """Y31."""
    async with analytics(database_url) as service:
        with acting(someone(1)), pytest.raises(Invalid, match="source"):
            await service.track_batch(TrackBatch((Json.of(event(1, NOON)),), source="10.0.0.17"))
        with acting(SYSTEM):
            assert await service.sources() == ()


async def test_a_senders_clock_is_corrected(database_url: str) -> None:
    """Y6: received at minus (sent at minus timestamp)."""
    async with analytics(database_url, FixedClock(NOON)) as service:
        wrong = NOON - timedelta(days=300)
        with acting(someone(1)):
            await service.track_batch(
                TrackBatch((Json.of(event(1, wrong - timedelta(minutes=5))),), sent_at=wrong, source="web")
            )
        page = await service.raw(ExportQuestion(), "", 10)

        assert [(item.timestamp, item.received_at) for item in page.items] == [(NOON - timedelta(minutes=5), NOON)]


async def test_a_repeat_changes_no_number(database_url: str) -> None:
    """Y5."""
    async with analytics(database_url) as service:
        events = [event(number, NOON + timedelta(minutes=number), plan="a") for number in range(20)]
        first = await send(service, 1, *events)
        again = await send(service, 2, *reversed(events), event(20, NOON, plan="a"), event(20, NOON, plan="b"))

        assert (first.accepted, again.accepted, again.duplicate) == (20, 1, 21)
        assert [each.index for each in again.outcomes] == [*range(20), 21]
        assert await numbers(service) == (21,)
        assert await numbers(service, measure="people") == (2,)
        assert await numbers(service, by="plan") == (21,)


async def test_the_same_events_at_once_are_counted_once(database_url: str) -> None:
    """Y5: also when replicas get them in different orders at the same time."""
    async with analytics(database_url) as service:
        events = [event(number, NOON, name, plan=name) for number, name in enumerate(["opened", "closed"] * 20)]
        receipts = await asyncio.gather(
            *(send(service, 1, *(events if number % 2 else reversed(events))) for number in range(8))
        )

        assert sum(receipt.accepted for receipt in receipts) == 40
        assert await numbers(service) == (20,)
        assert await numbers(service, name="closed", by="plan") == (20,)


async def test_people_are_who_signed_in_and_nobody_else_says_who_they_are(database_url: str) -> None:
    """Y1, Y31."""
    async with analytics(database_url, public=True) as service:
        await send(service, 1, {**event(1, NOON), "user_id": str(person(1)), "anonymous_id": "visitor"}, event(2, NOON))
        with acting(ANONYMOUS):
            await service.track(Track("opened", "3", anonymous_id="visitor", timestamp=NOON))
            await service.track(Track("opened", "4", timestamp=NOON))
            with pytest.raises(EventRefused, match="user_id"):
                await service.track(Track("opened", "5", user_id=person(1), timestamp=NOON))
        with acting(Actor("user", str(person(2)), permissions=("*",))), pytest.raises(EventRefused) as refused:
            await service.track(Track("opened", "6", user_id=person(1), timestamp=NOON))
        with acting(SYSTEM):
            await service.track(Track("opened", "7", user_id=person(3), timestamp=NOON))

        assert refused.value.errors[0].field == "user_id"
        assert await numbers(service) == (5,)
        assert await numbers(service, measure="people") == (3,)


async def test_who_may_track_and_who_may_read(database_url: str) -> None:
    """Y33."""
    async with analytics(database_url) as service:
        with acting(ANONYMOUS), pytest.raises(Unauthenticated):
            await service.track(Track("opened", "1"))
        question = TrendQuestion("opened")
        for actor, refusal in (
            (ANONYMOUS, Unauthenticated),
            (Actor("user", str(new_id())), Forbidden),
            (Actor("user", str(new_id()), permissions=("analytics:write",)), Forbidden),
        ):
            with acting(actor):
                for call in (
                    lambda: service.metric("user.unheard_of"),
                    lambda: service.trend(question),
                    lambda: service.top(TopQuestion()),
                    lambda: service.sources(),
                    lambda: service.raw(ExportQuestion(), "", 10),
                    lambda: service.rebuild(NOON, LATER),
                    lambda: service.rebuilding(new_id()),
                ):
                    with pytest.raises(refusal):
                        await call()
        with acting(Actor("user", str(new_id()), permissions=("analytics:read",))):
            assert (await service.metric("user.registered")).total == 0
            with pytest.raises(NoSuchMetric, match=r"auth\.session_started, .*user\.registered"):
                await service.metric("user.unheard_of")
            with pytest.raises(Forbidden):
                await service.raw(ExportQuestion(), "", 10)


async def test_opting_out_is_honoured_by_a_setting(database_url: str) -> None:
    """Y31: DNT and Sec-GPC."""
    async with analytics(database_url) as service:
        asked = TrackBatch((Json.of(event(1, NOON)),), opted_out=True)
        with acting(someone(1)):
            receipt = await service.track_batch(asked)
        assert receipt.outcomes == (Outcome(0, "refused", "opted_out", "the person asked not to be tracked"),)
        assert await raw(service) == []
        asis = AnalyticsService(
            db=service.db, clock=service.clock, jobs=service.jobs, settings=type(service.settings)(honour_opt_out=False)
        )
        with acting(someone(1)):
            assert (await asis.track_batch(asked)).accepted == 1


async def test_more_batches_than_may_wait_are_refused(database_url: str) -> None:
    """Y4: 429, nothing is half taken in, and those that are taken in are whole."""
    async with analytics(database_url, queue=2) as service:
        sent = await asyncio.gather(
            *(send(service, 1, event(number, NOON)) for number in range(10)), return_exceptions=True
        )
        refused = [each for each in sent if isinstance(each, IntakeBusy)]

        assert refused
        assert refused[0].retry_after == 1
        assert await numbers(service) == (10 - len(refused),)
        assert (await send(service, 1, event(99, NOON))).accepted == 1


async def test_sources_are_counted_by_outcome(database_url: str) -> None:
    """Y7."""
    async with analytics(database_url, FixedClock(NOON)) as service:
        await send(service, 1, event(1, NOON), event(1, NOON), {"name": "opened"})
        with acting(SYSTEM):
            found = await service.sources()

        assert [(each.source, each.status, each.code, each.count, each.last_at) for each in found] == [
            ("api", "accepted", "", 1, NOON),
            ("api", "duplicate", "duplicate", 1, NOON),
            ("api", "refused", "missing", 1, NOON),
        ]


# Questions


async def test_a_question_needs_a_range_and_a_zone_that_there_is(database_url: str) -> None:
    """Y18."""
    async with analytics(database_url) as service:
        with acting(SYSTEM):
            for wrong in (
                {"start": LATER, "end": NOON},
                {"start": NOON, "end": NOON},
                {"start": datetime(1999, 1, 1, tzinfo=UTC), "end": NOON},
                {"end": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-23)))},
                {"end": datetime(1, 1, 1, tzinfo=UTC)},
                {"zone": "Atlantis"},
                {"zone": "../etc/passwd"},
                {"zone": "Europe"},
            ):
                with pytest.raises(Invalid):
                    await service.trend(TrendQuestion("opened", **wrong))
            with pytest.raises(TooManyBuckets) as many:
                await service.trend(TrendQuestion("opened", start=NOON, end=NOON + 100 * DAY, interval="hour"))
            with pytest.raises(Invalid):
                await service.top(TopQuestion(name="opened"))
        assert many.value.errors[0].field == "interval"


async def test_without_a_range_it_is_the_last_thirty_days(database_url: str) -> None:
    async with analytics(database_url, FixedClock(NOON)) as service:
        await send(service, 1, event(1, NOON - timedelta(minutes=1)), event(2, NOON - 40 * DAY))
        with acting(SYSTEM):
            trend = await service.trend(TrendQuestion("opened", zone="Europe/Vienna"))
            top = await service.top(TopQuestion())

        assert len(trend.buckets) == 30
        assert trend.buckets[0] == datetime(2026, 1, 31, 23, tzinfo=UTC)
        assert (trend.total, trend.end) == (1, NOON)
        assert [(item.value, item.count) for item in top.items] == [("opened", 1)]


async def test_people_are_never_added_up_over_buckets(database_url: str) -> None:
    """Y15."""
    async with analytics(database_url) as service:
        for day in range(3):
            await send(service, 1, event(day, NOON + day * DAY))
        await send(service, 2, event(9, NOON))
        with acting(SYSTEM):
            trend = await service.trend(TrendQuestion("opened", start=NOON, end=NOON + 3 * DAY, measure="people"))

        assert trend.series[0].points == (2, 1, 1, 0)
        assert (trend.series[0].total, trend.total) == (2, 2)


async def test_raw_events_come_page_by_page(database_url: str) -> None:
    """Y28."""
    async with analytics(database_url) as service:
        await send(service, 1, *(event(number, NOON, plan=str(number)) for number in range(25)))
        await send(service, 1, event(99, NOON + DAY, "closed"))
        seen: list[str] = []
        cursor: str | None = ""
        with acting(SYSTEM):
            while cursor is not None:
                page = await service.raw(ExportQuestion(name="opened"), cursor, 10)
                assert len(page.items) <= 10
                seen += [item.message_id for item in page.items]
                cursor = page.next_cursor
            for wrong in ("nonsense", "AAAA", "/" * 32):
                with pytest.raises(Malformed):
                    await service.raw(ExportQuestion(), wrong, 10)
            with pytest.raises(Invalid):
                await service.raw(ExportQuestion(), "", 1001)

        assert sorted(seen) == sorted(f"m{number}" for number in range(25))


# Rebuilding


async def test_a_rebuild_makes_good_what_was_lost_and_is_in_place_at_once(database_url: str) -> None:
    """Y14: a question sees the old numbers until all new ones are there."""
    async with analytics(database_url) as service:
        for hour in range(4):
            await send(service, hour, event(hour, NOON + timedelta(hours=hour), plan="a"))
        await service.db.fetch("UPDATE analytics_counts SET events = 50")
        with acting(SYSTEM):
            ordered = await service.rebuild(NOON, NOON + DAY)
            assert (ordered.state, ordered.hours, ordered.done) == ("waiting", 0, 0)
            await rebuilds.begin(service.db, ordered.id)
            for done in range(1, 5):
                assert await numbers(service) == (50 * 4,)
                assert await rebuilds.step(service.db, ordered.id)
                assert (await service.rebuilding(ordered.id)).done == done
            # Meanwhile somebody tracks, in an hour that is done, and somebody is erased.
            await send(service, 9, event(9, NOON, plan="a"))
            async with service.db.transaction():
                await service.forget(UserErased(user_id=person(3), erased_at=NOON))
            assert not await rebuilds.step(service.db, ordered.id)
            assert await numbers(service) == (4,)
            assert await numbers(service, by="plan") == (4,)
            assert (await service.rebuilding(ordered.id)).state == "done"
            await service.carry_out_rebuild(ordered.id)
            with pytest.raises(NoSuchRebuild):
                await service.rebuilding(new_id())
        rows = await service.db.fetch("SELECT generation FROM analytics_counts GROUP BY generation")
        assert len(rows) == 1


async def test_a_rebuild_finds_hours_without_any_roll_up(database_url: str) -> None:
    """Y14."""
    async with analytics(database_url) as service:
        await send(service, 1, event(1, NOON), event(2, NOON + timedelta(hours=5, minutes=59, seconds=59.999)))
        for table in ("analytics_hours", "analytics_counts", "analytics_people"):
            await service.db.fetch(f"DELETE FROM {table}")
        assert await numbers(service) == (0,)
        await service.carry_out_rebuild(await service.write_rebuild(NOON, NOON + DAY))

        assert await numbers(service) == (2,)
        assert await numbers(service, measure="people") == (1,)


async def test_questions_and_intake_go_on_while_rebuilding(database_url: str) -> None:
    """Y14."""
    async with analytics(database_url) as service:
        await send(service, 1, *(event(number, NOON + timedelta(minutes=number)) for number in range(300)))

        async def ask() -> list[int]:
            return [(await numbers(service))[0] for _ in range(10)]

        async def track() -> None:
            for number in range(20):
                await send(service, 2, event(1000 + number, NOON + timedelta(minutes=7 * number)))

        first = await service.write_rebuild(NOON, NOON + DAY)
        second = await service.write_rebuild(NOON + timedelta(hours=2), NOON + DAY)
        answers, *_ = await asyncio.gather(
            ask(), track(), service.carry_out_rebuild(first), service.carry_out_rebuild(second)
        )

        assert all(300 <= answer <= 320 for answer in answers)
        assert answers == sorted(answers)
        assert await numbers(service) == (320,)


# What goes


async def test_an_erased_person_leaves_no_trace_and_stays_away(database_url: str) -> None:
    """Y32."""
    async with analytics(database_url, public=True) as service:
        secret = "a shop that only one person has"
        await send(service, 1, {**event(1, NOON, shop=secret), "anonymous_id": "visitor"}, event(2, NOON, shop="both"))
        await send(service, 2, event(3, NOON, shop="both"), {**event(4, NOON), "anonymous_id": "shared"})
        await send(service, 1, {**event(5, NOON), "anonymous_id": "shared"})
        with acting(ANONYMOUS):
            await service.track(Track("opened", "6", "visitor", None, NOON))
            await service.track(Track("opened", "7", "shared", None, NOON))
        for _ in range(2):
            async with service.db.transaction():
                await service.forget(UserErased(user_id=person(1), erased_at=NOON))
        again = await send(service, 1, event(1, NOON))
        await hear(service, registered(NOON, person(1)))

        assert [each.code for each in again.outcomes] == ["erased"]
        rows = await raw(service)
        with acting(SYSTEM):
            for by in ("", "shop"):
                for measure in ("events", "people"):
                    question = TrendQuestion("opened", NOON, NOON + DAY, by=by, measure=measure)
                    brute_trend(rows, question, await service.trend(question))
        assert len(rows) == 3
        for table in TABLES:
            rows = await service.db.fetch(f"SELECT * FROM {table._meta.tablename}")
            text = json.dumps(rows, default=str)
            assert secret not in text
            assert str(person(1)) not in text
            assert "visitor" not in text


async def test_raw_events_expire_and_numbers_stay(database_url: str) -> None:
    """Y33: roll-ups outlive raw; what needs raw is refused and not answered wrong."""
    clock = FixedClock(NOON)
    async with analytics(database_url, clock, raw_days=30, rollup_days=90) as service:
        await send(service, 1, *(event(number, NOON - timedelta(minutes=20 * number), plan="a") for number in range(9)))
        clock.at = NOON + 31 * DAY
        await send(service, 1, event(100, clock.at, plan="b"))
        await service.purge()

        assert len(await raw(service)) == 1
        day = {"start": MORNING, "end": NOON + timedelta(hours=1)}
        assert await numbers(service, **day) == (9,)
        assert await numbers(service, **day, by="plan", measure="people") == (1,)
        with acting(SYSTEM):
            for wrong in (
                {**day, "start": NOON - timedelta(minutes=5)},
                {**day, "by": "unknown"},
                {**day, "zone": "Asia/Kolkata", "interval": "hour"},
            ):
                with pytest.raises(RawGone):
                    await service.trend(TrendQuestion("opened", **wrong))
            with pytest.raises(RawGone):
                await service.rebuild(NOON, NOON + DAY)
            assert (await service.rebuild(clock.at + DAY, clock.at + 2 * DAY)).state == "waiting"
        assert (await send(service, 1, event(100, NOON))).duplicate == 1
        clock.at = NOON + 200 * DAY
        await service.purge()
        assert await numbers(service, **day) == (0,)
        assert await questions.raw_from(service.db) > 0
        assert forgetting.mark("u:1") != forgetting.mark("u:2")


async def test_old_hours_keep_their_counts_as_long_as_their_raw_events(database_url: str) -> None:
    """Y13, Y33: a late event of years ago is raw for as long as any other, so it counts that long."""
    clock = FixedClock(NOON)
    old = {"start": MORNING - 3000 * DAY, "end": MORNING - 2999 * DAY}
    async with analytics(database_url, clock, raw_days=30, rollup_days=90) as service:
        await send(service, 1, event(1, NOON - 3000 * DAY, plan="a"))
        await service.purge()

        for by in ("", "plan"):
            for measure in ("events", "people"):
                assert await numbers(service, **old, by=by, measure=measure) == (1,)
        clock.at = NOON + 31 * DAY
        await service.purge()
        await service.purge()
        assert await numbers(service, **old) == (0,)
        assert await service.db.fetch("SELECT 1 FROM analytics_people") == []


async def test_a_rebuild_leaves_hours_alone_whose_raw_events_went_meanwhile(database_url: str) -> None:
    """Y13, Y14: it was ordered in time and is carried out late."""
    clock = FixedClock(NOON)
    async with analytics(database_url, clock, raw_days=30) as service:
        await send(service, 1, event(1, NOON, plan="a"))
        ordered = await service.write_rebuild(NOON, NOON + DAY)
        begun = await service.write_rebuild(NOON + timedelta(hours=2), NOON + DAY)
        await send(service, 2, event(2, NOON + timedelta(hours=2), plan="a"))
        await rebuilds.begin(service.db, begun)
        clock.at = NOON + 32 * DAY
        await service.purge()
        await service.carry_out_rebuild(ordered)
        await service.carry_out_rebuild(begun)
        with acting(SYSTEM):
            assert [(await service.rebuilding(each)).state for each in (ordered, begun)] == ["done", "done"]

        assert await raw(service) == []
        for by in ("", "plan"):
            assert await numbers(service, by=by) == (2,)
            assert await numbers(service, by=by, measure="people") == (2,)


async def test_raw_events_that_go_while_a_question_is_asked_are_missed(database_url: str) -> None:
    """Y13, Y14: it is refused, and never answered with the half of them."""
    clock = FixedClock(NOON)
    async with analytics(database_url, clock, raw_days=30) as service:
        await send(service, 1, *(event(number, NOON + timedelta(minutes=number)) for number in range(30)))
        clock.at = NOON + 32 * DAY

        class Between:
            """Removes them between the first look and the counting."""

            dialect = service.db.dialect

            async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
                if sql.startswith("WITH facts"):
                    await service.purge()
                return await service.db.fetch(sql, *args)

        span = periods.whole(NOON + timedelta(minutes=5), NOON + timedelta(minutes=20))
        with pytest.raises(RawGone):
            await questions.ask(cast(Database, Between()), [span], "events", name="opened")


async def test_a_locked_database_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Y4: 503 with Retry-After; the event is not half taken in, and can be sent again."""
    async with analytics(f"sqlite:///{tmp_path}/a.db") as service:
        db = await SqliteDatabase.open(tmp_path / "a.db", busy_timeout=0.01)
        impatient = AnalyticsService(db=db, clock=service.clock, jobs=service.jobs, settings=service.settings)
        try:
            async with service.db.transaction():
                # As another process would: it knows nothing of this transaction.
                with pytest.raises(DatabaseUnavailable) as refused:
                    await spawn(impatient.track(Track("opened", "m1", timestamp=NOON)), "another process")
            again = await impatient.track(Track("opened", "m1", timestamp=NOON))
        finally:
            await db.aclose()

        assert (refused.value.status, refused.value.retry_after) == (503, 1.0)
        assert again.accepted == 1
        assert await numbers(service) == (1,)


async def test_tables_and_migrations_agree() -> None:
    """What the next migration would do is nothing."""
    assert await drift("analytics", list(TABLES), MIGRATIONS) == []
