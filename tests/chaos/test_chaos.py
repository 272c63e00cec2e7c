"""Processes are killed while people register, upload and track: nothing is lost, doubled or half there."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from invariants import broken, missing, settled
from load import Crowd
from outside import Outside
from stack import ManyProcesses, OneProcess, Stack, all_ready

from orion_core.testing.engines import NotSettled, until

CHECK_EVERY = 10
SETTLED_WITHIN = 90.0
EVERY = 2.0
"""Seconds between kills, about: half of them for the registrations to flow again, half on the average by chance."""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(OneProcess, id="sqlite"), pytest.param(ManyProcesses, id="servers", marks=pytest.mark.processes)],
)
async def test_nothing_is_lost_or_doubled_when_processes_are_killed(
    kind: type[OneProcess | ManyProcesses],
    kills: int,
    seed: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """E1, E4, E6, ET2, T7 and Y4 at once: 10 or, in the full run, 100 `kill -9`.

    They come during registrations, uploads, indexing, roll-ups and deliveries of webhooks.
    """
    began = time.monotonic()
    stack = await asyncio.to_thread(kind(tmp_path).__enter__)
    try:
        await all_ready(stack)
        report = await chaos(stack, kills, random.Random(seed))
    except BaseException:
        with capsys.disabled():
            print(f"\nchaos {kind.__name__}: failed with ORION_TEST_SEED={seed}")
        raise
    finally:
        await asyncio.to_thread(stack.__exit__)
    with capsys.disabled():
        print(f"\nchaos {kind.__name__}: {report}; {time.monotonic() - began:.0f} s, ORION_TEST_SEED={seed}")


async def chaos(stack: Stack, kills: int, chance: random.Random) -> str:
    """Kill `kills` processes under load, check every ten kills and at the end, and say how it was."""
    struck: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    async with Outside(stack) as outside, Crowd(stack.url, f"chaos-{chance.randrange(10**6)}") as crowd:
        for number in range(1, kills + 1):
            victim = chance.choice(stack.victims)
            await crowd.flows()
            await asyncio.sleep(chance.uniform(0.5, 1.5) * EVERY / 2)
            if number % 2:
                await outside.stir()
            hits.update({attempt.doing for attempt in crowd.in_flight if attempt.status in (None, 201)})
            hits["webhook"] += outside.receiving > 0
            await asyncio.to_thread(stack.kill, victim)
            struck[victim] += 1
            if number % CHECK_EVERY == 0 or number == kills:
                await check(stack, crowd, outside)
                crowd.resume()
        await crowd.pause()
    assert hits["registration"] * 2 >= kills, f"only {hits} of {kills} kills hit a registration in flight"
    assert hits["upload"] * 4 >= kills, f"only {hits} of {kills} kills hit an upload in flight"
    victims = ", ".join(f"{name} {count}" for name, count in sorted(struck.items()))
    uploads = Counter(attempt.upload for attempt in crowd.attempts if attempt.upload is not None)
    return f"killed {victims}; hit {dict(hits)}; answers {dict(crowd.statuses)}, to uploads {dict(uploads)}"


async def check(stack: Stack, crowd: Crowd, outside: Outside) -> None:
    """Stop the load, wait until all has settled, and look at everything."""
    await crowd.pause()
    await all_ready(stack)
    async with stack.databases() as databases:
        try:
            await until(lambda: settled(databases), "settling", SETTLED_WITHIN)
        except NotSettled:
            logs = "\n".join(f"--- {victim}\n{stack.log(victim)}" for victim in stack.victims)
            pytest.fail(f"still open after {SETTLED_WITHIN} s, missing {await missing(databases)}:\n{logs}")
        problems = await broken(databases, stack.mails, crowd, outside.email)
        people = await databases["auth"].fetch("SELECT id, email FROM users")
    accounts = {str(row["id"]): row["email"] for row in people}
    problems += await outside.broken(crowd.attempts, accounts)
    assert not problems, "\n".join(problems)
    assert not crowd.unexpected, crowd.unexpected[:5]
