"""Does hashing passwords hold up the event loop (A6)?

Keeps 50 logins in flight in a host in this process while a task notes how late the loop wakes it, and compares with the
same host at rest. Also prints how much of the raw bcrypt capacity of the machine the logins reached.

    python benchmarks/login_lag.py [logins]               # 200 by default: about ten seconds
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt

from orion_core.testing.in_process import InProcess
from orion_plugins.auth.hashing import cores

IN_FLIGHT = 50
PAUSE = 0.002


async def watch(stop: asyncio.Event) -> list[float]:
    """How many seconds late the loop ran something that was due, again and again until `stop`."""
    late = []
    while not stop.is_set():
        began = time.perf_counter()
        await asyncio.sleep(PAUSE)
        late.append(time.perf_counter() - began - PAUSE)
    return sorted(late)


async def rest(orion: InProcess) -> None:
    """Nothing, for two seconds."""
    await asyncio.sleep(2)


def capacity() -> float:
    """Checks per second of bcrypt alone, on as many threads as the host uses."""
    count, stored = 16 * cores(), bcrypt.hashpw(b"x", bcrypt.gensalt(10))
    with ThreadPoolExecutor(cores()) as threads:
        began = time.perf_counter()
        list(threads.map(lambda _: bcrypt.checkpw(b"y", stored), range(count)))
        return count / (time.perf_counter() - began)


async def measure(logins: int) -> tuple[list[float], list[float], float]:
    """The lags at rest and during `logins`, and logins per second."""
    with tempfile.TemporaryDirectory() as folder:
        async with InProcess(Path(folder) / "orion", ["auth", "users"]) as orion:
            person = await orion.sign_up()
            places = asyncio.Semaphore(IN_FLIGHT)

            async def one() -> None:
                async with places:
                    await orion.sign_in(person.email, person.password)

            async def storm(_: InProcess) -> None:
                await asyncio.gather(*(one() for _ in range(logins)))

            found = []
            for work in (rest, storm):
                stop = asyncio.Event()
                watching = asyncio.create_task(watch(stop))
                began = time.perf_counter()
                await work(orion)
                took = time.perf_counter() - began
                stop.set()
                found.append(await watching)
            return found[0], found[1], logins / took


def main() -> None:
    """Measure and print."""
    logins = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    raw = capacity()
    idle, busy, rate = asyncio.run(measure(logins))
    print(f"{logins} logins, {IN_FLIGHT} in flight, {cores()} hashing threads")
    for name, late in (("at rest", idle), ("busy", busy)):
        p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
        print(f"  lag {name:8} p50 {p50 * 1000:6.2f} ms   p99 {p99 * 1000:6.2f} ms   max {late[-1] * 1000:6.2f} ms")
    print(f"  {rate:.1f} logins/s of {raw:.1f} bcrypt/s alone: {rate / raw:.0%}   (wanted: p99 below 50 ms, 85 %)")


if __name__ == "__main__":
    main()
