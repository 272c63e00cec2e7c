"""Row 8 of the benchmark of the front door: a storm of logins against one host that has all cores."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import front_door_servers as servers
import httpx
from front_door_load import Compared
from front_door_people import PASSWORD, answered, sign_up
from login_lag import capacity

IN_FLIGHT: Final = 16
PAUSE: Final = 0.01
"""Seconds between two requests to the other route."""


async def latencies(url: str, headers: dict[str, str], stop: asyncio.Event) -> list[float]:
    """How many milliseconds each GET of `url` took, one after the other until `stop`."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    fields = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}\r\n".encode()
    found = []
    try:
        while not stop.is_set():
            began = time.perf_counter()
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b" 200 " not in head:
                raise RuntimeError(f"{url} answered {head.partition(bytes(2))[0]!r}")
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
            found.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE)
    finally:
        writer.close()
    return found


async def storm(url: str, email: str, seconds: float) -> float:
    """Logins per second with `IN_FLIGHT` at a time."""
    done, began = 0, time.perf_counter()

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            answer = await client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
            answer.raise_for_status()
            done += 1

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        await asyncio.gather(*(one(client) for _ in range(IN_FLIGHT)))
    return done / (time.perf_counter() - began)


def p99(found: list[float]) -> float:
    """What 99 of 100 stayed below."""
    return sorted(found)[len(found) * 99 // 100]


async def one_round(url: str, email: str, headers: dict[str, str], seconds: float) -> tuple[float, float, float]:
    """Logins per second, and the p99 of another route at rest and meanwhile, in milliseconds."""
    me = f"{url}/api/v1/users/me"
    ends = (asyncio.Event(), asyncio.Event())
    resting = asyncio.create_task(latencies(me, headers, ends[0]))
    await asyncio.sleep(seconds)
    ends[0].set()
    rest = await resting
    busy = asyncio.create_task(latencies(me, headers, ends[1]))
    rate = await storm(url, email, seconds)
    ends[1].set()
    return rate, p99(rest), p99(await busy)


def measure(folder: Path, rounds: int, seconds: float) -> list[Compared]:
    """Both rows of logins; each turn takes twice `seconds`, as a login takes long."""
    with servers.orion(folder, "logins", ("auth", "users", "gateway"), core=None) as url:
        _, headers = sign_up(url)
        answered(f"{url}/api/v1/users/me", headers)
        email = httpx.get(f"{url}/api/v1/users/me", headers=headers, trust_env=False).json()["email"]
        raw, rates, rest, busy = [], [], [], []
        for _ in range(rounds):
            raw.append(capacity())
            rate, calm, stormy = asyncio.run(one_round(url, email, headers, 2 * seconds))
            rates.append(rate)
            rest.append(calm)
            busy.append(stormy)
    return [
        Compared("8", "logins", "bcrypt alone on all cores", 0.9, tuple(rates), tuple(raw)),
        Compared("8p", "p99 of `GET /api/v1/users/me` meanwhile, in ms", "at rest", 2.0, tuple(busy), tuple(rest)),
    ]
