"""What must hold once everything has settled, however often processes were killed before."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from load import TRACKED, Crowd

from orion_core.composition import has_database
from orion_core.plugin import discover
from orion_core.ports.database import Database
from orion_core.testing.engines import NotSettled, until

HOUR_MS = 3_600_000

# A job that runs by itself is always delayed; every other one has to end, as has every delivery.
_OPEN = (
    "SELECT (SELECT COUNT(*) FROM orion_outbox WHERE published_ms IS NULL) "
    "+ (SELECT COUNT(*) FROM orion_deliveries WHERE state = 'ready') "
    "+ (SELECT COUNT(*) FROM orion_jobs WHERE state NOT IN ('done', 'dead') AND unique_key IS NULL) AS waiting"
)


async def settled(databases: Mapping[str, Database]) -> bool:
    """Whether nothing waits in an outbox, delivery or job, and every event is in the inbox of each of its listeners."""
    for db in databases.values():
        if (await db.fetch(_OPEN))[0]["waiting"]:
            return False
    return not await missing(databases)


async def missing(databases: Mapping[str, Database]) -> set[tuple[str, str]]:
    """What listeners have not in their inboxes of the events in the outboxes, as (queue, event id).

    What a process without a database tells about itself is in no outbox and may be lost.
    """
    told: dict[str, set[Any]] = defaultdict(set)
    for db in databases.values():
        for row in await db.fetch("SELECT name, event_id FROM orion_outbox"):
            told[row["name"]].add(row["event_id"])
    found: set[tuple[str, str]] = set()
    for name, plugin in discover().plugins.items():
        if name not in databases or not has_database(plugin):
            continue
        heard: dict[str, set[Any]] = defaultdict(set)
        for row in await databases[name].fetch("SELECT queue, event_id FROM orion_inbox"):
            heard[row["queue"]].add(row["event_id"])
        for listener in plugin.listeners:
            if not listener.broadcast:
                wanted = set().union(*(told[each] for each in listener.names or tuple(told)))
                found |= {(listener.queue, str(event_id)) for event_id in wanted - heard[listener.queue]}
    return found


async def unheard(databases: Mapping[str, Database], patience: float = 10.0) -> Counter[str]:
    """How many events each queue has not heard `patience` seconds after they were told, none if all is well.

    Every process goes on telling what it measured, once a minute: what was told just now may be on its way.
    """
    lacking = await missing(databases)

    async def arrived() -> bool:
        lacking.intersection_update(await missing(databases) if lacking else ())
        return not lacking

    with suppress(NotSettled):
        await until(arrived, "hearing what was told", patience)
    return Counter(queue for queue, _ in lacking)


async def broken(databases: Mapping[str, Database], mails: Sequence[Path], crowd: Crowd, *others: str) -> list[str]:
    """Every way in which the databases and mails differ from what they must be, in words; none if all is well.

    `others` are the addresses of people beside the `crowd`.
    """
    registered, known = crowd.registered, {*others, *(attempt.email for attempt in crowd.attempts)}
    auth, users = databases["auth"], databases["users"]
    notifications, analytics = databases["notifications"], databases["analytics"]
    accounts = {str(row["id"]): row["email"] for row in await auth.fetch("SELECT id, email FROM users")}
    problems = []

    for email, user_id in registered.items():
        if accounts.get(user_id) != email:
            problems.append(f"{email} was answered 201 with {user_id}, which is no account of that address")
    problems += [f"nobody asked for the account {email}" for email in set(accounts.values()) - known]
    problems += _doubles("account", accounts.values())

    told = await auth.fetch("SELECT event_id, subject, data FROM orion_outbox WHERE name = 'user.registered'")
    notices = await notifications.fetch("SELECT user_id FROM notifications WHERE type = 'user.welcome'")
    deliveries = await notifications.fetch(
        "SELECT user_id, address, status, message_id FROM notification_deliveries WHERE type = 'user.welcome'"
    )
    profiles = await users.fetch("SELECT user_id FROM user_profiles")
    problems += _one_each("event", accounts, [row["subject"] for row in told])
    problems += _one_each("profile", accounts, [str(row["user_id"]) for row in profiles])
    problems += _one_each("welcome notice", accounts, [str(row["user_id"]) for row in notices])
    problems += _one_each("welcome mail", accounts, [str(row["user_id"]) for row in deliveries])

    problems += [f"the mail to {row['address']} is {row['status']}" for row in deliveries if row["status"] != "sent"]
    problems += _mails(mails, {row["address"]: row["message_id"] for row in deliveries})

    started = await auth.fetch("SELECT data FROM orion_outbox WHERE name = 'auth.session_started'")
    problems += await _counted(analytics, "user.registered", _hours(told, "registered_at"))
    problems += await _counted(analytics, "auth.session_started", _hours(started, "started_at"))
    for service, name in (("storage", "storage.object_created"), ("webhooks", "webhook.delivered")):
        rows = await databases[service].fetch("SELECT event_id FROM orion_outbox WHERE name = $1", name)
        problems += await _counted(analytics, name, Counter({None: len(rows)}))
    problems += await _tracked(analytics, crowd)

    sent = await databases["webhooks"].fetch("SELECT id, message_id, status FROM webhook_deliveries")
    problems += [f"the webhook {row['id']} is {row['status']}" for row in sent if row["status"] != "succeeded"]
    problems += _doubles("webhook", [str(row["message_id"]) for row in sent])

    problems += [f"{queue} has not heard {count} events" for queue, count in (await unheard(databases)).items()]
    for name, db in databases.items():
        for row in await db.fetch("SELECT type, error_message FROM orion_jobs WHERE state = 'dead'"):
            problems.append(f"a job of {name} is dead: {row['type']}: {row['error_message']}")
        for row in await db.fetch("SELECT queue, error_message FROM orion_deliveries WHERE state = 'dead'"):
            problems.append(f"a delivery to {row['queue']} is dead: {row['error_message']}")
    return problems


def _one_each(what: str, accounts: Mapping[str, str], found: Sequence[str]) -> list[str]:
    there = set(found)
    problems = [f"{accounts[user_id]} has no {what}" for user_id in accounts.keys() - there]
    problems += [f"there is a {what} for {user_id}, who has no account" for user_id in there - accounts.keys()]
    return problems + _doubles(what, found)


def _doubles(what: str, found: Any) -> list[str]:
    return [f"{count} times the same {what}: {each}" for each, count in Counter(found).items() if count > 1]


def _mails(paths: Sequence[Path], wanted: Mapping[str, str]) -> list[str]:
    """A mail may be sent again after a crash between sending and storing that: then it has the same Message-ID."""
    found: dict[str, set[str]] = {}
    for path in paths:
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        found.setdefault(str(message["To"]), set()).add(str(message["Message-ID"]))
    return [
        f"mails to {address} have the ids {sorted(found.get(address, ()))}, not {wanted.get(address)}"
        for address in found.keys() | wanted.keys()
        if found.get(address) != {wanted.get(address)}
    ]


_ROLLED_UP = (
    "SELECT r.hour_ms, CAST(SUM(r.events) AS BIGINT) AS n FROM analytics_counts r JOIN analytics_hours h "
    "ON h.hour_ms = r.hour_ms AND h.generation = r.generation WHERE r.name = $1 AND r.property = '' GROUP BY r.hour_ms"
)


async def _counted(analytics: Database, metric: str, told: Counter[int | None]) -> list[str]:
    """Raw events and roll-ups both say what was told, hour by hour where `told` knows the hours."""
    kept = await analytics.fetch("SELECT at_ms FROM analytics_events WHERE name = $1", metric)
    raw: Counter[int | None] = Counter(row["at_ms"] // HOUR_MS * HOUR_MS for row in kept)
    rows = await analytics.fetch(_ROLLED_UP, metric)
    rolled: Counter[int | None] = Counter({row["hour_ms"]: row["n"] for row in rows})
    problems = [] if raw == rolled else [f"{metric} is rolled up as {rolled}, and the raw events are {raw}"]
    if None in told:
        raw = Counter({None: raw.total()})
    return problems + ([] if raw == told else [f"{metric} was told {told} and is counted {raw}"])


async def _tracked(analytics: Database, crowd: Crowd) -> list[str]:
    """What was acknowledged is there, once; what was sent may be."""
    rows = await analytics.fetch("SELECT message_id, name FROM analytics_events")
    found = {row["message_id"] for row in rows if row["name"] == TRACKED}
    sent = {attempt.name: attempt.tracked for attempt in crowd.attempts if attempt.tracked is not None}
    lost = {name for name, status in sent.items() if status == 202} - found
    problems = [f"the event of {name} was answered 202 and is lost" for name in lost]
    problems += [f"nobody sent the event {name}" for name in found - sent.keys()]
    problems += _doubles("raw event", [row["message_id"] for row in rows])
    return problems + await _counted(analytics, TRACKED, Counter({None: len(found)}))


def _hours(told: Sequence[dict[str, Any]], field: str) -> Counter[int | None]:
    times = [datetime.fromisoformat(json.loads(row["data"])[field]).timestamp() for row in told]
    return Counter(int(at * 1000) // HOUR_MS * HOUR_MS for at in times)
