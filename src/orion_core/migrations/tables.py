"""Core's tables: the outbox, its sequences, embedded deliveries, the inbox and jobs.

These classes are the source of the migrations; core reads and writes the tables with SQL through `Database.fetch`.
Times are Unix milliseconds of the database's clock, so that statements are the same on SQLite and PostgreSQL.
Indexes over several columns are in the second migration: Piccolo has none, and its constraints fail on SQLite.
"""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, BigSerial, Boolean, Integer, Text, Varchar
from piccolo.table import Table

from orion_core.migrations.columns import Position


class Outbox(Table, tablename="orion_outbox"):
    """An event that was told inside a transaction, and whether it has been published."""

    position = Position(primary_key=True)
    event_id = UUID(default=None, unique=True)
    name = Varchar()
    version = Integer()
    source = Varchar()
    subject = Varchar()
    sequence = BigInt()
    time_ms = BigInt()
    data = Text()
    correlation_id = Varchar()
    causation_id = Varchar()
    started = Varchar()
    tracestate = Varchar(length=512)
    originator = Varchar()
    heard = Boolean()
    published_ms = BigInt(null=True, default=None, index=True)
    attempts = Integer()
    due_ms = BigInt()
    claimed_until_ms = BigInt()
    last_error = Text()


class Sequence(Table, tablename="orion_sequences"):
    """The last sequence number of one aggregate, ``<family>:<subject>``."""

    aggregate = Varchar(length=512, primary_key=True)
    last = BigInt()


class Delivery(Table, tablename="orion_deliveries"):
    """One event on its way to one queue of the embedded bus."""

    id = BigSerial(primary_key=True)
    event_id = UUID(default=None)
    position = BigInt()
    queue = Varchar()
    state = Varchar()
    attempts = Integer()
    due_ms = BigInt()
    claimed_until_ms = BigInt()
    first_failed_ms = BigInt(null=True, default=None)
    last_failed_ms = BigInt(null=True, default=None)
    error_class = Varchar()
    error_message = Text()
    done_ms = BigInt(null=True, default=None)


class Inbox(Table, tablename="orion_inbox"):
    """An event that a queue has handled."""

    id = BigSerial(primary_key=True)
    queue = Varchar()
    event_id = UUID(default=None)
    at_ms = BigInt(index=True)


class Job(Table, tablename="orion_jobs"):
    """A job from being enqueued to its end."""

    id = UUID(default=None, primary_key=True)
    type = Varchar()
    queue = Varchar()
    args = Text()
    priority = Integer()
    state = Varchar()
    attempt = Integer()
    max_attempts = Integer()
    due_ms = BigInt()
    lease_until_ms = BigInt()
    worker = Varchar()
    unique_key = Varchar(null=True, default=None, unique=True)
    correlation_id = Varchar()
    causation_id = Varchar()
    traceparent = Varchar()
    originator = Varchar()
    error_class = Varchar()
    error_message = Text()
    traceback = Text()
    history = Text(default="[]")
    created_ms = BigInt()
    started_ms = BigInt(null=True, default=None)
    finished_ms = BigInt(null=True, default=None)


TABLES: tuple[type[Table], ...] = (Outbox, Sequence, Delivery, Inbox, Job)
