"""Numbers about what happens on the platform."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.analytics import (
    Analytics,
    DayCount,
    EventRefused,
    ExportQuestion,
    IntakeBusy,
    MetricReport,
    NoSuchMetric,
    NoSuchRebuild,
    Outcome,
    Performance,
    PerformanceQuestion,
    RawEvent,
    RawGone,
    RawPage,
    Rebuild,
    Receipt,
    Series,
    Source,
    TopItem,
    TopList,
    TopQuestion,
    Track,
    TrackBatch,
    Trend,
    TrendQuestion,
)
from orion_core.contracts.platform import RequestsMeasured
from orion_core.contracts.users import UserErased
from orion_core.errors import Invalid, Unauthenticated
from orion_core.events import Envelope, on, on_all
from orion_core.ids import new_id
from orion_core.jobs import Jobs, job
from orion_core.json_value import Json
from orion_core.paging import check_limit
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.analytics import forgetting, intake, performance, periods, questions, rebuilds, redaction, storing
from orion_plugins.analytics.exports import from_cursor, to_cursor
from orion_plugins.analytics.facts import FACTS, happened
from orion_plugins.analytics.intake import Event, Sender, from_milliseconds, milliseconds
from orion_plugins.analytics.rollups import HOUR_MS
from orion_plugins.analytics.settings import AnalyticsSettings

_DAY_MS = 24 * HOUR_MS


@attrs.frozen
class AnalyticsService(Analytics):
    """Keeps `Analytics`: raw events and roll-ups change together, questions are asked of both."""

    db: Database
    clock: Clock
    jobs: Jobs
    settings: AnalyticsSettings
    _waiting: list[int] = attrs.field(factory=lambda: [0], init=False, repr=False)

    # Intake

    async def track(self, event: Track) -> Receipt:
        sender = self._sender("api", None)
        try:
            taken = intake.take(event, sender)
        except Invalid as error:
            raise EventRefused(error.detail, errors=error.errors) from error
        return await self._store("api", [(0, taken)], [])

    async def track_batch(self, batch: TrackBatch) -> Receipt:
        if redaction.is_personal(batch.source):
            raise invalid("source", "personal", "must not be an address of the network: name the program that sends")
        sender = self._sender(batch.source, batch.sent_at)
        if batch.opted_out and self.settings.honour_opt_out:
            outcomes = [_refused(index, "opted_out", "the person asked not to be tracked") for index in _places(batch)]
            return await self._store(batch.source, [], outcomes)
        taken: list[tuple[int, Event]] = []
        refused: list[Outcome] = []
        for index, given in enumerate(batch.events):
            try:
                taken.append((index, intake.read(given.plain(), sender)))
            except Invalid as error:
                # The code of the field; the field itself stands in the detail.
                code = error.errors[0].code if error.errors else error.code
                refused.append(_refused(index, code, error.detail))
        return await self._store(batch.source, taken, refused)

    def _sender(self, source: str, sent: datetime | None) -> Sender:
        actor = current().actor
        if actor.kind == "anonymous" and not self.settings.public:
            raise Unauthenticated("sign in first: this needs an access token")
        return Sender(
            user_id=actor.user_id if actor.kind == "user" else None,
            may_name=actor.trusted,
            source=source,
            received=self.clock.now(),
            sent=sent,
        )

    async def _store(self, source: str, taken: Sequence[tuple[int, Event]], refused: Sequence[Outcome]) -> Receipt:
        if self._waiting[0] >= self.settings.queue:
            raise IntakeBusy("too many events are being taken in: send them again", retry_after=1)
        self._waiting[0] += 1
        try:
            async with self.db.transaction():
                kinds = await storing.store(self.db, [event for _, event in taken])
                outcomes = sorted(
                    [*refused, *map(_outcome, (index for index, _ in taken), (event for _, event in taken), kinds)],
                    key=lambda each: each.index,
                )
                tally = Counter((str(each.status), each.code) for each in outcomes)
                await storing.tally(self.db, source, tally, milliseconds(self.clock.now()))
        finally:
            self._waiting[0] -= 1
        by_status = Counter(each.status for each in outcomes)
        return Receipt(
            accepted=by_status["accepted"],
            duplicate=by_status["duplicate"],
            refused=by_status["refused"],
            outcomes=tuple(each for each in outcomes if each.status != "accepted" or each.code),
        )

    @on_all()
    async def count(self, envelope: Envelope) -> None:
        """Count the facts that are counted, at the time they happened; everything else is passed over."""
        fact = happened(envelope)
        if fact is not None:
            event = intake.told(fact, envelope.id, self.clock.now())
            await storing.store(self.db, [event])

    @on(RequestsMeasured)
    async def measure(self, event: RequestsMeasured) -> None:
        """Add what a process measured in a minute."""
        await performance.add(self.db, event)

    # Questions

    async def metric(self, name: str) -> MetricReport:
        _reading()
        if name not in FACTS:
            raise NoSuchMetric(f"no metric is called {name!r}; there are {', '.join(sorted(FACTS))}")
        rows = await self.db.fetch(
            f"SELECT r.hour_ms / {_DAY_MS} AS day, CAST(SUM(r.events) AS BIGINT) AS n FROM analytics_counts AS r "
            "JOIN analytics_hours AS h ON h.hour_ms = r.hour_ms AND h.generation = r.generation "
            f"WHERE r.name = $1 AND r.property = '' GROUP BY r.hour_ms / {_DAY_MS} ORDER BY 1",
            name,
        )
        days = tuple(DayCount(day=date(1970, 1, 1) + timedelta(days=row["day"]), count=row["n"]) for row in rows)
        return MetricReport(name=name, total=sum(each.count for each in days), days=days)

    async def trend(self, question: TrendQuestion) -> Trend:
        _reading()
        zone = periods.zone_of(question.zone)
        start, end = self._range(question.start, question.end, zone)
        found = periods.buckets(start, end, question.interval, zone)
        answer = await questions.ask(
            self.db, found, question.measure, name=question.name, by=question.by, limit=question.limit
        )
        series = [
            Series(value, total, tuple(answer.points.get((value, number), 0) for number in range(len(found))))
            for value, total in answer.values
        ]
        if not question.by and not series:
            series = [Series("", 0, (0,) * len(found))]
        return Trend(
            name=question.name,
            start=start,
            end=end,
            interval=question.interval,
            zone=question.zone,
            measure=question.measure,
            by=question.by,
            buckets=periods.starts(found),
            series=tuple(series),
            total=answer.total,
            values=answer.known if question.by else 0,
        )

    async def top(self, question: TopQuestion) -> TopList:
        _reading()
        if bool(question.name) != bool(question.by):
            missing = "by" if question.name else "name"
            raise invalid(missing, "missing", "name and by are given together, or neither for the events themselves")
        found = [periods.whole(*self._range(question.start, question.end, UTC))]
        answer = await questions.ask(
            self.db, found, question.measure, name=question.name, by=question.by, limit=question.limit
        )
        return TopList(
            items=tuple(TopItem(value, count) for value, count in answer.values),
            total=answer.total,
            values=answer.known,
        )

    async def performance(self, question: PerformanceQuestion) -> Performance:
        _reading()
        zone = periods.zone_of(question.zone)
        start, end = self._range(question.start, question.end, zone)
        found = periods.buckets(start, end, question.interval, zone)
        return await performance.ask(self.db, question, (start, end), found)

    async def raw(self, question: ExportQuestion, cursor: str, limit: int) -> RawPage:
        current().actor.require("analytics:export")
        check_limit(limit, 1000)
        span = periods.whole(question.start or intake.OLDEST, question.end or periods.LATEST)
        at, last = from_cursor(cursor) if cursor else (span.lo, UUID(int=0))
        rows = await storing.page(self.db, question.name, max(at, span.lo), span.hi, at, last, limit + 1)
        items = tuple(_raw_event(row) for row in rows[:limit])
        more = rows[limit - 1] if len(rows) > limit else None
        return RawPage(items=items, next_cursor=to_cursor(more["at_ms"], more["id"]) if more else None)

    def _range(self, start: datetime | None, end: datetime | None, zone: tzinfo) -> tuple[datetime, datetime]:
        end = self.clock.now() if end is None else end
        periods.check_time("end", end)
        return periods.last_days(end, 29, zone) if start is None else start, end

    # Administration

    async def rebuild(self, start: datetime, end: datetime) -> Rebuild:
        current().actor.require("analytics:manage")
        rebuild_id = await self.write_rebuild(start, end)
        await self.jobs.enqueue(self.carry_out_rebuild, rebuild_id, priority="low")
        return await self.rebuilding(rebuild_id)

    async def write_rebuild(self, start: datetime, end: datetime) -> UUID:
        """Write down a rebuild that somebody is to carry out; one that nobody does has no effect."""
        span = periods.whole(start, end)
        first, last = span.lo // HOUR_MS * HOUR_MS, -(-span.hi // HOUR_MS) * HOUR_MS
        if first < (kept := await questions.raw_from(self.db)):
            raise RawGone(f"raw events are kept from {from_milliseconds(kept):%Y-%m-%dT%H:%MZ} on: begin later")
        rebuild_id = new_id()
        await self.db.fetch(
            "INSERT INTO analytics_rebuilds (rebuild_id, start_ms, end_ms, state, hours, requested_ms) "
            "VALUES ($1, $2, $3, 'waiting', 0, $4)",
            rebuild_id,
            first,
            last,
            milliseconds(self.clock.now()),
        )
        return rebuild_id

    @job(retries=20, timeout=6 * 3600.0)
    async def carry_out_rebuild(self, rebuild_id: UUID) -> None:
        """Do a rebuild, or go on with one that was broken off."""
        await rebuilds.begin(self.db, rebuild_id)
        while await rebuilds.step(self.db, rebuild_id):
            pass
        await rebuilds.sweep(self.db)

    async def rebuilding(self, rebuild_id: UUID) -> Rebuild:
        current().actor.require("analytics:manage")
        row = await rebuilds.progress(self.db, rebuild_id)
        if row is None:
            raise NoSuchRebuild(f"there is no rebuild with the id {rebuild_id}")
        return Rebuild(
            id=row["rebuild_id"],
            start=from_milliseconds(row["start_ms"]),
            end=from_milliseconds(row["end_ms"]),
            state=row["state"],
            hours=row["hours"],
            done=row["done"],
            requested_at=from_milliseconds(row["requested_ms"]),
        )

    async def sources(self) -> tuple[Source, ...]:
        _reading()
        return tuple(
            Source(row["source"], row["status"], row["code"], row["events"], from_milliseconds(row["last_ms"]))
            for row in await storing.sources(self.db)
        )

    # What goes

    @on(UserErased)
    async def forget(self, event: UserErased) -> None:
        """Remove a person from raw events and roll-ups."""
        await forgetting.erase(self.db, event.user_id, self.clock.now())

    @job(every=timedelta(hours=1), timeout=3600.0)
    async def purge(self) -> None:
        """Remove what is older than it is to be kept, in small batches."""
        now = self.clock.now()
        await forgetting.expire_raw(self.db, now, self.settings.raw_days)
        await forgetting.expire_rollups(self.db, now, self.settings.rollup_days)


def _reading() -> None:
    current().actor.require("analytics:read")


def _places(batch: TrackBatch) -> range:
    return range(len(batch.events))


def _refused(index: int, code: str, detail: str) -> Outcome:
    return Outcome(index, "refused", code[:50], detail[:300])


def _outcome(index: int, event: Event, kind: str) -> Outcome:
    if kind == "accepted":
        return Outcome(index, "accepted", *event.warning)
    if kind == "duplicate":
        return Outcome(index, "duplicate", "duplicate", "an event with this message_id is there already")
    return _refused(index, kind, "this person was forgotten")


def _raw_event(row: dict[str, Any]) -> RawEvent:
    return RawEvent(
        id=row["id"],
        name=row["name"],
        type=row["type"],
        message_id=row["message_id"],
        user_id=row["user_id"],
        anonymous_id=row["anonymous_id"],
        timestamp=from_milliseconds(row["at_ms"]).astimezone(UTC),
        received_at=from_milliseconds(row["received_ms"]),
        source=row["source"],
        counted=bool(row["counted"]),
        properties=Json(row["properties"]),
        context=Json(row["context"]),
    )
