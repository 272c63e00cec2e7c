"""How soon is a person found (S1), and what does a query cost among many documents?

Registers people one by one in a host in this process and waits until search finds each; then fills the index of users
with documents of some 56 words, of which few are common and most are rare, and asks as an administrator and as one of
the persons, with other words each time.

    python benchmarks/search.py [documents] [database url]       # 20,000 on SQLite by default: about two minutes
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from orion_core.context import SYSTEM, Actor, acting
from orion_core.contracts.auth import Auth, Register
from orion_core.contracts.search import Query, Search
from orion_core.json_value import Json
from orion_core.testing.in_process import InProcess

PEOPLE = 40
ASKED = 20
STEP = 5000
DRAW = random.Random(1)
WORDS = ["".join(DRAW.choices("abcdefghijklmnopqrstuvwxyz", k=DRAW.randrange(3, 9))) for _ in range(30_000)]
_WEIGHTS = list(itertools.accumulate(1 / place for place in range(1, len(WORDS) + 1)))
QUERIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "a rare word": lambda at: {"text": f"{WORDS[15_000 + at]} "},
    "two middling words": lambda at: {"text": f"{WORDS[300 + at]} {WORDS[500 + at]} "},
    "a very common word": lambda at: {"text": f"{WORDS[at]} "},
    "a prefix": lambda at: {"text": WORDS[at][:3]},
    "a phrase": lambda at: {"text": f'"{WORDS[at]} {WORDS[at + 1]}"'},
    "32 common words": lambda at: {"text": " ".join(WORDS[at : at + 32]) + " "},
    "everything, sorted": lambda at: {"sort": "-name" if at % 2 else "name"},
}


async def found_after(orion: InProcess, number: int) -> float:
    """How many seconds after the answer to a registration search finds the person."""
    name = f"found{number}"
    await orion.service(Auth).register(Register(f"{name}@example.org", "correct horse battery", name))
    began = time.perf_counter()
    while not (await orion.service(Search).find(Query("users", f"{name} ", limit=0))).total:  # noqa: ASYNC110 - polls
        await asyncio.sleep(0.001)
    return time.perf_counter() - began


def document(number: int) -> Json:
    """One document of some 56 words."""
    words = DRAW.choices(WORDS, cum_weights=_WEIGHTS, k=56)
    return Json.of({"id": str(UUID(int=number)), "version": 1, "name": " ".join(words[:6]), "bio": " ".join(words[6:])})


async def fill(orion: InProcess, count: int) -> None:
    """Add `count` documents."""
    search = orion.service(Search)
    for first in range(0, count, STEP):
        task = await search.add("users", tuple(document(at) for at in range(first + 1, min(first + STEP, count) + 1)))
        while (await search.task(task.id)).task.finished_at is None:  # noqa: ASYNC110 - polls
            await asyncio.sleep(0.1)


async def timed(ask: Callable[[], Awaitable[Any]]) -> float:
    """How many seconds it took."""
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began


def said(name: str, seconds: list[float]) -> None:
    """Print the median and the 95th percentile."""
    seconds = sorted(seconds)
    p50, p95 = seconds[len(seconds) // 2], seconds[len(seconds) * 95 // 100]
    print(f"  {name:32} p50 {p50 * 1000:8.1f} ms   p95 {p95 * 1000:8.1f} ms", flush=True)


async def measure(count: int, url: str) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"database_url": url} if url else {}
        async with InProcess(Path(folder) / "orion", ["auth", "users", "search"], settings=settings) as orion:
            with acting(SYSTEM):
                said("found after the answer", [await found_after(orion, number) for number in range(PEOPLE)])
                took = await timed(lambda: fill(orion, count))
            print(f"  {count} documents at {count / took:.0f} a second")
            for who, actor in (("all", SYSTEM), ("own", Actor("user", str(UUID(int=7))))):
                for name, query in QUERIES.items():
                    with acting(actor):
                        asked = [Query("users", limit=20, **query(at)) for at in range(ASKED)]
                        find = orion.service(Search).find
                        seconds = [await timed(functools.partial(find, each)) for each in asked]
                    said(f"{name}, among {who}", seconds)


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    asyncio.run(measure(count, sys.argv[2] if len(sys.argv) > 2 else ""))


if __name__ == "__main__":
    main()
