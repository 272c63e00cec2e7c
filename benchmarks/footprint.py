"""Start-up and footprint: seconds from `orion run` to ready, memory, the boot of a test platform, the cost of a call.

Run it on a quiet machine: python benchmarks/footprint.py
Each figure is the median of several runs, beside the floor it should approach on 2 cores.
"""

from __future__ import annotations

import abc
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import httpx
from rich.console import Console
from rich.table import Table

from orion_core import Contract, Plugin, value
from orion_core.platform import Reach
from orion_core.testing import InProcess
from orion_core.testing.ports import free_ports

RUNS = 5
CALLS = 5000


@value
class Question:
    text: str
    number: int


class Echo(Contract, name="echo"):
    @abc.abstractmethod
    async def echo(self, question: Question) -> Question: ...


@attrs.frozen
class EchoService(Echo):
    async def echo(self, question: Question) -> Question:
        return question


def start_and_memory() -> tuple[float, float]:
    """Seconds until /health/ready answers 200 on a new data folder that was migrated once, and MiB resident."""
    with tempfile.TemporaryDirectory() as folder:
        ready, memory = _run(folder)
        del ready, memory
        return _run(folder)


def _run(folder: str) -> tuple[float, float]:
    port = free_ports(1)[0]
    env = {**os.environ, "ORION_DATA_DIR": folder, "ORION_PORT": str(port)}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "orion_core.cli", "run"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(trust_env=False) as client:
            while time.perf_counter() - began < 60:
                try:
                    if client.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.01)
            ready = time.perf_counter() - began
            for _ in range(50):
                client.get(f"http://127.0.0.1:{port}/health")
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return ready, pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


async def boot() -> float:
    """Seconds until a whole platform stands in a test, the first one of the process not counted."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        async with InProcess(Path(folder) / "data"):
            return time.perf_counter() - began


async def call(reach: Reach) -> float:
    """Microseconds of one call with a small value, without what the service does."""
    with tempfile.TemporaryDirectory() as folder:
        echo = Plugin("echo", service=EchoService)
        async with InProcess(Path(folder) / "data", ["echo"], reach=reach, plugins=[echo]) as orion:
            stub = orion.service(Echo)
            question = Question("what is it?", 42)
            began = time.perf_counter()
            for _ in range(CALLS):
                await stub.echo(question)
            return (time.perf_counter() - began) / CALLS * 1e6


async def median(measure: Callable[[], Awaitable[float]]) -> float:
    await measure()
    return statistics.median([await measure() for _ in range(RUNS)])


def main() -> None:
    starts = [start_and_memory() for _ in range(RUNS)]
    rows = [
        ("ready after orion run", statistics.median(ready for ready, _ in starts), 1.5, "s"),
        ("resident memory", statistics.median(memory for _, memory in starts), 150, "MiB"),
        ("boot of a test platform", asyncio.run(median(boot)), 0.2, "s"),
        ("local call", asyncio.run(median(lambda: call("local"))), 15, "µs"),
        ("wire call", asyncio.run(median(lambda: call("wire"))), 60, "µs"),
    ]
    table = Table("figure", "measured", "floor", "ratio", title="Start-up and footprint")
    for name, measured, floor, unit in rows:
        table.add_row(name, f"{measured:.2f} {unit}", f"{floor:g} {unit}", f"{measured / floor:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
