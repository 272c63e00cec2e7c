"""Memory while a big file goes up and down through the gateway: how much each host process grows.

Run it on a quiet machine: python benchmarks/big_file.py [--size 2048] [--embedded | --split]
It needs twice the size on disk for a while. The split one needs PostgreSQL, Redis and RabbitMQ, as the tests do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
from rich.console import Console
from rich.table import Table

from orion_core.testing.ports import free_ports
from orion_core.testing.processes import Processes

BOUND = 64.0
"""MiB that a host may grow, however big the file is."""
MIB = 2**20
WARM = 1
"""MiB that goes up and down before memory is looked at, so that what a first request imports is not counted."""
PIECE = random.Random(2048).randbytes(MIB)


@attrs.define
class Watched:
    """One host process: what it had at rest, and the most it had since."""

    name: str
    pid: int
    before: float = 0.0
    most: float = 0.0

    def look(self) -> None:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.most = max(self.most, pages * os.sysconf("SC_PAGE_SIZE") / MIB)

    def begin(self) -> None:
        self.most = 0.0
        self.look()
        self.before = self.most


@contextlib.contextmanager
def watching(hosts: list[Watched]) -> Iterator[None]:
    """Look at the memory of all `hosts` every 20 ms, from a thread of its own."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for host in hosts:
                host.look()

    for host in hosts:
        host.begin()
    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[tuple[str, list[Watched]]]:
    """All services in one process."""
    port = free_ports(1)[0]
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("ORION_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "orion_core.cli", "run", "--port", str(port)],
        env={**inherited, "ORION_DATA_DIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while not ready(url):
            if process.poll() is not None or time.monotonic() > end:
                sys.exit("orion run did not get ready")
            time.sleep(0.05)
        yield url, [Watched("all in one", process.pid)]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@contextlib.contextmanager
def split(folder: Path) -> Iterator[tuple[str, list[Watched]]]:
    """One process per service."""
    with Processes(folder) as running:
        yield running.url("gateway"), [Watched(name, each.pid) for name, each in running.running.items()]


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


async def transfer(http: httpx.AsyncClient, bucket: str, size: int) -> tuple[float, float]:
    """Seconds that `size` MiB took up and down; checks that the same bytes came back."""
    digest = hashlib.sha256()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(size):
            piece = number.to_bytes(8, "big") + PIECE[8:]
            digest.update(piece)
            yield piece

    path = f"/api/v1/storage/buckets/{bucket}/objects/big.bin"
    began = time.perf_counter()
    put = await http.put(path, content=pieces(), headers={"content-length": str(size * MIB)})
    check(put, 200, 201)
    up = time.perf_counter() - began
    back = hashlib.sha256()
    began = time.perf_counter()
    async with http.stream("GET", path) as answer:
        check(answer, 200)
        async for piece in answer.aiter_raw():
            back.update(piece)
    down = time.perf_counter() - began
    if not digest.digest() == back.digest() == bytes.fromhex(put.json()["sha256"]):
        sys.exit("other bytes came back")
    check(await http.delete(path), 204)
    return up, down


def check(answer: httpx.Response, *expected: int) -> None:
    if answer.status_code not in expected:
        sys.exit(f"{answer.request.method} {answer.request.url} answered {answer.status_code}")


async def measure(url: str, hosts: list[Watched], size: int) -> tuple[float, float]:
    """Send the file, watched; seconds up and down."""
    person: dict[str, Any] = {
        "email": f"big-{secrets.token_hex(6)}@example.org",
        "password": secrets.token_urlsafe(24),
        "name": "Ada",
    }
    bucket = f"big-{secrets.token_hex(6)}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as http:
        registered = await http.post("/api/v1/auth/register", json=person)
        check(registered, 201)
        http.headers["authorization"] = f"Bearer {registered.json()['access_token']}"
        check(await http.post("/api/v1/storage/buckets", json={"name": bucket}), 201)
        await transfer(http, bucket, WARM)
        with watching(hosts):
            return await transfer(http, bucket, size)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory while a big file goes up and down through the gateway.")
    parser.add_argument("--size", type=int, default=2048, help="size of the file in MiB")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--embedded", action="store_true", help="only all services in one process")
    only.add_argument("--split", action="store_true", help="only one process per service")
    given = parser.parse_args()
    table = Table("process", "at rest", "most", "growth", "bound", title=f"A file of {given.size} MiB, up and down")
    for name, kind, left_out in (("embedded", embedded, given.split), ("split", split, given.embedded)):
        if left_out:
            continue
        with tempfile.TemporaryDirectory(prefix="orion-big-file-") as folder, kind(Path(folder)) as (url, hosts):
            up, down = asyncio.run(measure(url, hosts, given.size))
            for host in sorted(hosts, key=lambda each: each.before - each.most):
                table.add_row(
                    f"{name}: {host.name}",
                    f"{host.before:.0f} MiB",
                    f"{host.most:.0f} MiB",
                    f"{host.most - host.before:.1f} MiB",
                    f"{BOUND:g} MiB",
                )
        rates = f"up {given.size / up:.0f} MiB/s, down {given.size / down:.0f} MiB/s"
        table.add_row(f"[dim]{name}: {rates}[/dim]", "", "", "", "", end_section=True)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
