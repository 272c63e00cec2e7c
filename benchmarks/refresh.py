"""How many refreshes per second on PostgreSQL, and how many are lost to what is around their SQL?

Some sessions refresh their tokens as fast as they can: once through the service `auth`, which signs and seals a pair
for each, and once as nothing but the same statements with arguments made before, through the bare driver. Both take
turns on one database in one run. Prints the rate of each and their ratio.

    python benchmarks/refresh.py [rounds]                 # 5 by default: about half a minute

Needs a PostgreSQL server on which databases may be created, named by `ORION_TEST_POSTGRES_URL`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import asyncpg

from orion_core.adapters.postgres import PostgresDatabase
from orion_core.adapters.system_clock import SystemClock
from orion_core.contracts.auth import Auth, Register
from orion_core.contracts.notifications import Notifications
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.outbox import Outbox
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing.databases import postgres_database
from orion_core.testing.fake import Fake
from orion_plugins.auth import refreshing
from orion_plugins.auth.plugin import orion_plugin
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import ACTIVE
from orion_plugins.auth.tokens import fingerprint, new_refresh_token

SESSIONS = 10
POOL = 10
SECONDS = 2.0
SEALED = "v1.00000000." + "A" * 900
WEEK = timedelta(days=7)

Refresh = Callable[[str], Awaitable[str]]


async def open_service(db: PostgresDatabase) -> AuthService:
    """The service `auth` on the empty database `db`."""
    await up(db, [CORE, MigrationApp("orion_auth", "orion_plugins.auth.migrations")])
    for table in orion_plugin().tables:
        table._meta.db = db.engine
    clock = SystemClock()
    return AuthService(
        db=db,
        events=Outbox("auth", Auth, db, clock),
        jobs=JobQueue("auth", db, clock),
        clock=clock,
        keyring=Keyring.generate(),
        notifications=Fake(Notifications),
        settings=AuthSettings(),
        platform=Settings(public_url="https://example.org"),
    )


def bare(pool: asyncpg.Pool, clock: SystemClock) -> Refresh:
    """A refresh that is only its statements."""

    async def refresh(token: str) -> str:
        successor = new_refresh_token()
        hashed, now = fingerprint(successor), clock.now()
        # As the service does it: a look, and then a transaction.
        row = await pool.fetchrow(refreshing._FIND, fingerprint(token))
        async with pool.acquire() as connection, connection.transaction():
            assert await connection.fetch(refreshing._TOUCH, now, now + WEEK, hashed, row["session_id"])
            assert await connection.fetch(refreshing._SPEND, row["id"], now, SEALED, row["session_id"])
            assert await connection.fetch(
                refreshing._ADD, new_id(), row["session_id"], hashed, now, now + WEEK, row["user_id"], row["version"],
                ACTIVE,
            )  # fmt: skip
        return successor

    return refresh


async def rate(refresh: Refresh, tokens: list[str]) -> float:
    """Refreshes per second of all sessions together; `tokens` are their latest ones, before and after."""
    done = 0
    end = time.perf_counter() + SECONDS

    async def one(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            tokens[number] = await refresh(tokens[number])
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(len(tokens))))
    return done / (time.perf_counter() - began)


async def sessions_of(service: AuthService, user_id: UUID) -> list[str]:
    """The refresh tokens of new sessions."""
    tokens = []
    for _ in range(SESSIONS):
        async with service.db.transaction():
            tokens.append((await service._start_session(user_id, 1, "token")).refresh_token)
    return tokens


async def measure(rounds: int) -> tuple[list[float], list[float]]:
    """The rates of the service and of bare SQL, round by round."""
    async with postgres_database() as url:
        db = await PostgresDatabase.open(url, pool=POOL)
        pool = await asyncpg.create_pool(url, min_size=POOL, max_size=POOL, reset=_keep)
        try:
            async with await open_service(db) as service:
                account = await service.register(Register("ada@example.org", "correct horse battery"))
                tokens = await sessions_of(service, account.id)

                async def through_service(token: str) -> str:
                    return (await service.refresh(token)).refresh_token

                found: tuple[list[float], list[float]] = ([], [])
                both = (through_service, bare(pool, SystemClock()))
                for turn in range(rounds + 1):
                    # In turns, so that neither always comes first; the first round warms up.
                    for which in (0, 1) if turn % 2 else (1, 0):
                        measured = await rate(both[which], tokens)
                        if turn:
                            found[which].append(measured)
                return found
        finally:
            await pool.close()
            await db.aclose()


async def _keep(_: object) -> None:
    """Nothing to reset between uses of a connection, as in the service's own pool."""


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    service, sql = asyncio.run(measure(rounds))
    ratios = [ours / bare for ours, bare in zip(service, sql, strict=True)]
    print(f"{SESSIONS} sessions, {POOL} connections, {rounds} rounds of {SECONDS:g} s each")
    print(f"  auth      {statistics.median(service):8.0f} refreshes/s   (wanted: 300)")
    print(f"  bare SQL  {statistics.median(sql):8.0f} refreshes/s")
    print(
        f"  ratio     {statistics.median(ratios):8.2f}   (wanted: 0.50; rounds {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
