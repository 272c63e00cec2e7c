"""Does the time of a refused login tell why it was refused (A7)?

Interleaves logins that fail for five reasons through the HTTP face of a host in this process, and prints the medians
relative to the first and the rank-based AUC of every pair: 0.5 means that the two cannot be told apart.

    python benchmarks/login_timing.py [samples]           # 200 of each by default: about a minute
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from orion_core.testing.in_process import InProcess
from orion_plugins.auth.settings import AuthSettings

PASSWORD = "correct horse battery staple"


async def measure(samples: int) -> dict[str, list[float]]:
    """Seconds of each refused login, by reason."""
    with tempfile.TemporaryDirectory() as folder:
        # Without limits, so that each account stays in its own state however often it is tried.
        free = AuthSettings(failures_per_account=10**6, failures_per_address=10**6)
        async with InProcess(Path(folder) / "orion", settings={"plugins": {"auth": free}}) as orion:
            reasons = ("wrong password", "no password", "closed account", "locked account")
            people = {name: await orion.sign_up() for name in reasons}
            await orion.settle()
            db = orion.platform.databases["auth"]
            await db.fetch("UPDATE users SET password_hash = '' WHERE id = $1", people["no password"].id)
            await db.fetch("UPDATE users SET status = 'disabled' WHERE id = $1", people["closed account"].id)
            tries = {
                "unknown account": {"email": "nobody@example.org", "password": PASSWORD},
                "no password": {"email": people["no password"].email, "password": PASSWORD},
                "closed account": {"email": people["closed account"].email, "password": PASSWORD},
                "wrong password": {"email": people["wrong password"].email, "password": "wrong " + PASSWORD},
            }
            locked = {"email": people["locked account"].email, "password": "wrong " + PASSWORD}
            before: set[str] = set()
            for body in (tries["unknown account"], locked):
                await orion.http.post("/api/v1/auth/login", json=body)
                counters = {row["key"] for row in await db.fetch("SELECT key FROM auth_throttles")}
                added, before = counters - before, counters
            await db.fetch("UPDATE auth_throttles SET blocked_until_ms = $2 WHERE key = $1", added.pop(), 2**52)
            tries["locked account"] = {**locked, "password": PASSWORD}
            found: dict[str, list[float]] = {reason: [] for reason in tries}
            for turn in range(-5, samples):
                for reason in random.sample(list(tries), len(tries)):
                    began = time.perf_counter()
                    answer = await orion.http.post("/api/v1/auth/login", json=tries[reason])
                    took = time.perf_counter() - began
                    assert answer.status_code == 401, answer.text
                    if turn >= 0:
                        found[reason].append(took)
            return found


def auc(one: list[float], other: list[float]) -> float:
    """How often a sample of `one` is larger than one of `other`, ties counted half (Mann-Whitney)."""
    larger = sum(a > b for a in one for b in other) + 0.5 * sum(a == b for a in one for b in other)
    return larger / (len(one) * len(other))


def main() -> None:
    """Measure and print."""
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    found = asyncio.run(measure(samples))
    first = statistics.median(next(iter(found.values())))
    print(f"{samples} interleaved logins per reason")
    for reason, times in found.items():
        median = statistics.median(times)
        print(f"  {reason:16} median {median * 1000:7.2f} ms   ratio {median / first:.3f}")
    print("AUC of each pair (wanted: 0.4 to 0.6)")
    for one, other in itertools.combinations(found, 2):
        print(f"  {one:16} {other:16} {auc(found[one], found[other]):.3f}")


if __name__ == "__main__":
    main()
