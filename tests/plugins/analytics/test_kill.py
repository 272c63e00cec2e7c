"""Y4: a process that is killed at any moment loses no event that it acknowledged, and counts none twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brute import FixedClock, analytics, brute_trend, event, raw, send

from orion_core.context import SYSTEM, acting
from orion_core.contracts.analytics import TrendQuestion

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FAR = datetime(2026, 12, 1, tzinfo=UTC)


async def work(url: str, first: int) -> None:
    """Track and rebuild until killed, saying what is acknowledged."""
    async with analytics(url, FixedClock(FAR)) as service:

        async def track(lane: int) -> None:
            number = first + lane * 10_000
            while True:
                at = NOON + timedelta(minutes=number % 300)
                await send(service, lane, *(event(number + each, at, plan=str(each % 3)) for each in range(10)))
                print(number, flush=True)
                number += 10

        async def rebuild() -> None:
            while True:
                await service.carry_out_rebuild(await service.write_rebuild(NOON, NOON + timedelta(hours=6)))

        await asyncio.gather(track(1), track(2), rebuild())


def killed(url: str, first: int, after: int) -> set[int]:
    """What a process that is killed after so many batches had acknowledged."""
    program = f"import asyncio, test_kill; asyncio.run(test_kill.work({url!r}, {first}))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(after)]
    process.kill()
    said += process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    return {int(line) for line in said}


async def test_kill_9_loses_nothing_and_doubles_nothing(database_url: str) -> None:
    acknowledged: set[int] = set()
    for turn in range(3):
        acknowledged |= await asyncio.to_thread(killed, database_url, turn * 1000, 15 + turn * 7)
    async with analytics(database_url, FixedClock(FAR)) as service:
        # A client that got no answer sends its events again.
        for number in sorted(acknowledged):
            at = NOON + timedelta(minutes=number % 300)
            receipt = await send(service, 1, *(event(number + each, at, plan=str(each % 3)) for each in range(10)))
            assert receipt.accepted == 0
        rows = await raw(service)
        with acting(SYSTEM):
            for by in ("", "plan"):
                for measure in ("events", "people"):
                    question = TrendQuestion("opened", NOON, NOON + timedelta(hours=6), "hour", by=by, measure=measure)
                    brute_trend(rows, question, await service.trend(question))
        assert len(rows) >= 10 * len(acknowledged)
        assert len(rows) % 10 == 0
