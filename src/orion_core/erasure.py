"""Erasing a person from the tables of core: in every service with a database, once `user.erased` is heard.

What services keep of a person is theirs to remove. Core keeps payloads: events that were published, arguments and
errors of jobs, errors of deliveries. Those that name the person are blanked, and with them what a client called its
request and trace; ids, names and times stay, so that counts and sequences remain true. A payload that somebody still
needs, as it waits to be published, heard or run, is blanked once it is over. `user.erased` itself holds an id alone and
stays.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from orion_core.context import current
from orion_core.contracts.users import UserErased
from orion_core.events import Listener, listeners, on
from orion_core.jobs import Retry, job, job_types
from orion_core.ports.database import Database
from orion_core.queue import JobQueue, Work

SOON = timedelta(seconds=5)
"""When core looks again: by then most of what was under way is over, also what the erasure itself set off."""
_PATIENCE = 200
"""How often it looks for what is still under way; the pauses grow to an hour."""

_ABOUT = "(subject = $1 OR originator = $2 OR causation_id = $3 OR data LIKE $4) AND name <> 'user.erased'"
_NEEDED = (
    "(published_ms IS NULL "
    "OR EXISTS (SELECT 1 FROM orion_deliveries d WHERE d.event_id = orion_outbox.event_id AND d.state = 'ready'))"
)
# A job whose only argument is the person's id has nothing to hide: such are those that erase.
_OF_JOBS = "(originator = $2 OR causation_id = $3 OR args LIKE $4) AND args <> $1"
_OVER = "state IN ('done', 'dead', 'cancelled')"

# Deliveries are found by their events, and so are jobs that do not name the person: events go last.
_BLANK_DELIVERIES = (
    "UPDATE orion_deliveries SET error_message = '' WHERE error_message <> '' AND state <> 'ready' "
    f"AND event_id IN (SELECT event_id FROM orion_outbox WHERE {_ABOUT})"
)
_BLANK_JOBS = (
    "UPDATE orion_jobs SET args = '{}', error_message = '', traceback = '', history = '[]', correlation_id = '' "
    f"WHERE {_OVER} AND unique_key IS NULL AND {_OF_JOBS}"
)
_BLANK_CHAINS = (
    f"UPDATE orion_jobs SET correlation_id = '' WHERE {_OVER} AND unique_key IS NULL AND correlation_id <> '' "
    f"AND correlation_id IN (SELECT correlation_id FROM orion_outbox WHERE {_ABOUT})"
)
_BLANK_EVENTS = (
    "UPDATE orion_outbox SET data = '', last_error = '', correlation_id = '', tracestate = '' "
    f"WHERE data <> '' AND NOT {_NEEDED} AND {_ABOUT}"
)
_LEFT = (
    f"SELECT (SELECT COUNT(*) FROM orion_outbox WHERE data <> '' AND {_NEEDED} AND {_ABOUT}) "
    f"+ (SELECT COUNT(*) FROM orion_jobs WHERE NOT {_OVER} AND unique_key IS NULL AND "
    f"{_OF_JOBS.replace('$1', '$5')}) AS total"
)


async def blank(db: Database, user_id: UUID) -> int:
    """Blank the payloads of the person in `db`, and those that the event which is heard led to; returns how many are
    still needed. In the running transaction."""
    cause = current().causation_id or str(user_id)
    about = (str(user_id), f"user:{user_id}", cause, f"%{user_id}%")
    only_the_id = f'{{"user_id": "{user_id}"}}'
    await db.fetch(_BLANK_DELIVERIES, *about)
    await db.fetch(_BLANK_JOBS, only_the_id, *about[1:])
    await db.fetch(_BLANK_CHAINS, *about)
    await db.fetch(_BLANK_EVENTS, *about)
    return int((await db.fetch(_LEFT, *about, only_the_id))[0]["total"])


class Erasure:
    """The listener and the job that core adds to a service with a database; its names are core's own."""

    def __init__(self, db: Database, queue: JobQueue) -> None:
        self._db = db
        self._queue = queue

    @on(UserErased)
    async def orion_forget_person(self, event: UserErased) -> None:
        """Blank at once what is over, and the rest later."""
        await blank(self._db, event.user_id)
        await self._queue.enqueue(self.orion_forget_rest, event.user_id, delay=SOON)

    @job(retries=_PATIENCE, base=5.0, cap=3600.0)
    async def orion_forget_rest(self, user_id: UUID) -> None:
        """Blank what has become superfluous, until nothing is left."""
        async with self._db.transaction():
            left = await blank(self._db, user_id)
        # What every service removed at once is still in the journal of its database.
        if self._db.dialect.scrub:
            await self._db.fetch(self._db.dialect.scrub)
        if left:
            raise Retry(f"{left} payload(s) of an erased person are still needed")

    def work(self, service: str) -> dict[str, Work]:
        """Its jobs as the queue of `service` takes them."""
        return {f"{service}.{name}": Work(kind, getattr(self, name)) for name, kind in job_types(Erasure).items()}


def hears(service: str) -> tuple[Listener, ...]:
    """What core hears in the name of `service`."""
    return listeners(Erasure, service)
