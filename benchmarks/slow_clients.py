"""How much slower are healthy requests while 200 slow connections hang (G41)?

Starts `orion run` in a process of its own, asks for one person over and over on one connection, first alone and then
beside slow clients: a third never finish their heads, a third never finish a body, a third never read their answers.
A slow client that is cut off comes back at once. Prints p50 and p99 of both, and their ratio; wanted is below 2.

    python benchmarks/slow_clients.py [requests]          # 3,000 by default: about half a minute
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from orion_core.testing.ports import free_ports

SLOW = 200
HEAD = b"Host: 127.0.0.1\r\n"
BEGINNINGS = (
    b"GET /api/v1/auth/me HTTP/1.1\r\n" + HEAD + b"X-Slow: ",
    b"POST /api/v1/auth/login HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
    (b"GET /schema/openapi.json HTTP/1.1\r\n" + HEAD + b"\r\n") * 20,
)


async def slow(port: int, beginning: bytes) -> None:
    """Begin, send a byte every second, read nothing; again after each end."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            try:
                writer.write(beginning)
                while not writer.is_closing():
                    await asyncio.sleep(1)
                    writer.write(b"x")
                    await writer.drain()
            finally:
                writer.close()


async def healthy(port: int, token: str, count: int) -> list[float]:
    """The milliseconds of `count` requests, one after the other, sorted."""
    request = b"GET /api/v1/auth/me HTTP/1.1\r\n" + HEAD + f"Authorization: Bearer {token}\r\n\r\n".encode()
    took = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        took.append((time.perf_counter() - began) * 1000)
    writer.close()
    return sorted(took)


@contextlib.asynccontextmanager
async def beside_slow_clients(port: int) -> AsyncIterator[None]:
    """200 of them for as long as the block lasts, in a process of their own, so that they cost this one nothing."""
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, "--slow", str(port))
    await asyncio.sleep(4)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def be_slow(port: int) -> None:
    """Be 200 slow clients, not all at the same moment."""

    async def one(number: int) -> None:
        await asyncio.sleep(number / SLOW)
        await slow(port, BEGINNINGS[number % 3])

    await asyncio.gather(*map(one, range(SLOW)))


async def measure(port: int, token: str, count: int) -> None:
    """Both, and what they say of each other."""
    await healthy(port, token, 200)
    alone = await healthy(port, token, count)
    async with beside_slow_clients(port):
        beside = await healthy(port, token, count)
    for name, took in (("alone", alone), (f"beside {SLOW} slow clients", beside)):
        print(f"{name:24} p50 {took[len(took) // 2]:6.2f} ms   p99 {took[int(len(took) * 0.99)]:6.2f} ms")
    print(f"p99 of the second is {beside[int(count * 0.99)] / alone[int(count * 0.99)]:.2f} times that of the first")


def main() -> None:
    """Start a host, measure, stop it."""
    if sys.argv[1:2] == ["--slow"]:
        asyncio.run(be_slow(int(sys.argv[2])))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("ORION_")}
        env = {**kept, "ORION_DATA_DIR": str(Path(folder) / "data"), "ORION_PORT": str(port)}
        command = [sys.executable, "-m", "orion_core.cli", "run"]
        log = subprocess.DEVNULL
        with subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log) as process:
            try:
                for _ in range(600):
                    with contextlib.suppress(httpx.HTTPError):
                        if httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200:
                            break
                    time.sleep(0.1)
                body = {"email": "ada@example.org", "password": "correct horse battery", "name": "Ada"}
                answer = httpx.post(f"{url}/api/v1/auth/register", json=body, trust_env=False, timeout=30)
                asyncio.run(measure(port, answer.json()["access_token"], count))
            finally:
                process.terminate()
                process.wait(30)


if __name__ == "__main__":
    main()
