"""What analytics stores. Times are Unix milliseconds, so that hours are whole numbers in every statement.

An event is one raw row and, for its hour, one more in each roll-up row it belongs to: that of its name (property and
value empty) and that of each value of a property that is rolled up. Raw rows and roll-ups change in one transaction.

Each roll-up row belongs to a generation of its hour. A rebuild makes the next generation beside the current one and
puts all its hours in place with one statement, so that no question mixes old and new.
"""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, BigSerial, Boolean, DoublePrecision, Integer, Text, Varchar
from piccolo.table import Table

from orion_core.migrations.columns import Position


class AnalyticsEvent(Table, tablename="analytics_events"):
    """One event as accepted. `origin` is ``platform`` for facts told on the bus and ``api`` for all others; a message
    id occurs once in each. `person` is who counts as one. `dims` are the properties that an answer can be broken down
    by, as texts."""

    id = UUID(primary_key=True, default=None)
    origin = Varchar(10)
    message_id = Varchar(100)
    name = Varchar(200)
    type = Varchar(20)
    user_id = UUID(default=None, null=True)
    anonymous_id = Varchar(200)
    person = Varchar(64)
    at_ms = BigInt()
    received_ms = BigInt(index=True)
    source = Varchar(50)
    counted = Boolean(default=True)
    properties = Text()
    context = Text()
    dims = Text()


class AnalyticsHour(Table, tablename="analytics_hours"):
    """An hour in which something happened: which generation of its roll-ups counts, and which one is being made."""

    hour_ms = BigInt(primary_key=True, default=None)
    generation = BigInt()
    building = BigInt(null=True, default=None)
    built = Boolean(default=False)


class AnalyticsCount(Table, tablename="analytics_counts"):
    """How often an event happened in one hour, with one value of one property."""

    id = BigSerial(primary_key=True)
    generation = BigInt()
    name = Varchar(200)
    property = Varchar(100)
    hour_ms = BigInt(index=True)
    value = Varchar(100)
    events = BigInt()


class AnalyticsPerson(Table, tablename="analytics_people"):
    """The same for each person, so that people are counted exactly, and can be forgotten."""

    id = BigSerial(primary_key=True)
    generation = BigInt()
    name = Varchar(200)
    property = Varchar(100)
    hour_ms = BigInt(index=True)
    value = Varchar(100)
    person = Varchar(64, index=True)
    events = BigInt()


class AnalyticsProperty(Table, tablename="analytics_properties"):
    """A property of an event that is rolled up, since the first event that had it."""

    id = BigSerial(primary_key=True)
    name = Varchar(200)
    property = Varchar(100)


class AnalyticsErased(Table, tablename="analytics_erased"):
    """Somebody who was forgotten, as a hash: late news of them are not taken in."""

    person = Varchar(64, primary_key=True)
    at_ms = BigInt()


class AnalyticsSource(Table, tablename="analytics_sources"):
    """How many events of a source came to what end."""

    id = BigSerial(primary_key=True)
    source = Varchar(50)
    status = Varchar(10)
    code = Varchar(50)
    events = BigInt()
    last_ms = BigInt()


class AnalyticsRebuild(Table, tablename="analytics_rebuilds"):
    """One rebuild of roll-ups; its position is the generation that it makes."""

    position = Position(primary_key=True)
    rebuild_id = UUID(default=None, unique=True)
    start_ms = BigInt()
    end_ms = BigInt()
    state = Varchar(10)
    hours = Integer()
    requested_ms = BigInt()


class AnalyticsState(Table, tablename="analytics_state"):
    """Numbers that analytics remembers: ``raw_from`` is the time of receipt from which on all raw rows are kept."""

    key = Varchar(30, primary_key=True)
    number = BigInt()


class AnalyticsRequests(Table, tablename="analytics_requests"):
    """The requests of one route within a quarter of an hour, the finest step between time zones.

    `b0` to `b13` count those up to each bound in `BOUNDS_MS`, and above all of them.
    """

    id = BigSerial(primary_key=True)
    service = Varchar(50)
    route = Varchar(500)
    method = Varchar(10)
    quarter_ms = BigInt(index=True)
    requests = BigInt()
    errors = BigInt()
    total_ms = DoublePrecision()
    b0 = BigInt()
    b1 = BigInt()
    b2 = BigInt()
    b3 = BigInt()
    b4 = BigInt()
    b5 = BigInt()
    b6 = BigInt()
    b7 = BigInt()
    b8 = BigInt()
    b9 = BigInt()
    b10 = BigInt()
    b11 = BigInt()
    b12 = BigInt()
    b13 = BigInt()


TABLES = (
    AnalyticsEvent,
    AnalyticsHour,
    AnalyticsCount,
    AnalyticsPerson,
    AnalyticsProperty,
    AnalyticsErased,
    AnalyticsSource,
    AnalyticsRebuild,
    AnalyticsState,
    AnalyticsRequests,
)
