"""What does an entry in the audit log cost a sign-in (A58)?

Opens sessions in transactions as a login does, without its bcrypt: bare, and with the entry that continues the chain.
Prints the time of each transaction, one after another and 32 at a time, and the share of a login of 60 ms; then how
fast the whole chain is verified.

    python benchmarks/audit.py [transactions]           # 400 of each by default, on SQLite and on PostgreSQL
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from orion_core import composition
from orion_core.adapters import choose
from orion_core.context import SYSTEM, acting
from orion_core.keyring import Keyring
from orion_core.migrate import up
from orion_core.plugin import discover
from orion_core.secret import Secret
from orion_core.settings import Settings
from orion_core.testing.databases import postgres_database
from orion_core.testing.in_process import InProcess
from orion_plugins.auth import sessions
from orion_plugins.auth.audit import record

BCRYPT_MS = 60.0
AT_ONCE = 32


@contextlib.asynccontextmanager
async def platform(kind: str, folder: Path) -> AsyncIterator[InProcess]:
    """A host with auth alone, on durable storage."""
    settings: dict[str, Any] = {"synchronous": "FULL"}
    async with contextlib.AsyncExitStack() as stack:
        if kind == "postgresql":
            url = await stack.enter_async_context(postgres_database())
            settings |= {
                "database_url": url,
                "keyring": Secret(Keyring.generate().dump()),
                "database_pool": AT_ONCE,
            }
            db = await choose.open_database(Settings(**settings), "auth")
            await up(db, composition.migration_apps(discover().plugins["auth"]))
            await db.aclose()
        yield await stack.enter_async_context(InProcess(folder / kind, ["auth"], settings=settings))


async def measure(kind: str, count: int, folder: Path) -> None:
    """Print the figures of one kind of database."""
    async with platform(kind, folder) as orion:
        service: Any = orion.platform.services["auth"]
        people = [(await orion.sign_up()).id for _ in range(4)]

        async def bare(user_id: UUID) -> None:
            async with service.db.transaction():
                await sessions.start(user_id, 1, ("pwd",), service.clock.now(), service.settings)

        async def recorded(user_id: UUID) -> None:
            async with service.db.transaction():
                now = service.clock.now()
                issued = await sessions.start(user_id, 1, ("pwd",), now, service.settings)
                await record("signed_in", now, user_id=user_id, session_id=issued.grant.session_id, method="pwd")

        print(f"{kind}, {count} transactions each")
        alone = {name: await one_by_one(work, people, count) for name, work in (("bare", bare), ("recorded", recorded))}
        cost = alone["recorded"] - alone["bare"]
        for name, milliseconds in alone.items():
            print(f"  one by one, {name:9} median {milliseconds:6.2f} ms")
        print(f"  an entry costs {cost:.2f} ms, {cost / BCRYPT_MS * 100:.1f} % of a login")
        for name, work in (("bare", bare), ("recorded", recorded)):
            print(f"  {AT_ONCE} at a time, {name:9} {await at_once(work, people, count):6.0f} per second")
        began = time.perf_counter()
        with acting(SYSTEM):
            report = await service.verify_audit(())
        took = time.perf_counter() - began
        print(
            f"  verified {report.checked} entries, {report.checked / took:.0f} per second, {len(report.faults)} faults"
        )


async def one_by_one(work: Callable[[UUID], Awaitable[None]], people: list[UUID], count: int) -> float:
    """Milliseconds of the median transaction."""
    took = []
    for turn in range(count):
        began = time.perf_counter()
        await work(people[turn % len(people)])
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def at_once(work: Callable[[UUID], Awaitable[None]], people: list[UUID], count: int) -> float:
    """Transactions per second."""
    left = iter(range(count))

    async def worker() -> None:
        for turn in left:
            await work(people[turn % len(people)])

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sqlite", "postgresql"):
            asyncio.run(measure(kind, count, Path(folder)))


if __name__ == "__main__":
    main()
