"""Hosts that are restarted one after the other while people use them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orion_core.testing.engines import until
from orion_core.testing.person import Person
from orion_core.testing.ports import free_ports
from orion_core.testing.processes import Processes

pytestmark = pytest.mark.processes

SERVICES = ("auth", "gateway", "users")
DRAIN = "1.5"


class Replicated(Processes):
    """Auth once, users and gateway twice each; a replica is named ``users.2``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SERVICES, env={"ORION_DRAIN": DRAIN}, start=False)
        self.ports |= dict(zip(("gateway.2", "users.2"), free_ports(2), strict=True))

    def launch(self, name: str, **more: str) -> subprocess.Popen[bytes]:
        service = name.partition(".")[0]
        urls = {other: [self.url(each) for each in self.ports if each.partition(".")[0] == other] for other in SERVICES}
        peers = ",".join(f"{other}={'|'.join(found)}" for other, found in urls.items() if other != service)
        env = {**self.env, "ORION_PORT": str(self.ports[name]), "ORION_PEERS": peers, **more}
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "orion_core.cli", "run", service]
            self.running[name] = subprocess.Popen(command, env=env, cwd=self.folder, stdout=log, stderr=log)
        return self.running[name]


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with Replicated(tmp_path_factory.mktemp("replicated")) as deployment:
        deployment.start(*deployment.ports)
        yield deployment


class User:
    """Sends one request after the other, through whichever gateway has not told it to leave."""

    def __init__(self, urls: list[str], person: Person, at: int) -> None:
        self.clients = [httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) for url in urls]
        self.person = person
        self.at = at % len(urls)
        self.seen: list[Any] = []

    async def ask(self) -> None:
        """Read and write the profile: a PATCH is never sent twice by anybody on the way."""
        for method, more in (("GET", {}), ("PATCH", {"json": {"name": f"name {len(self.seen)}"}})):
            try:
                answer = await self.clients[self.at].request(
                    method, "/api/v1/users/me", headers=self.person.headers, **more
                )
            except httpx.ConnectError:
                # Nothing was sent: a load balancer goes on to the next, and so does this user.
                self.at = (self.at + 1) % len(self.clients)
                continue
            except httpx.HTTPError as error:
                self.seen.append((method, repr(error)))
                continue
            self.seen.append((method, answer.status_code))
            if answer.headers.get("connection") == "close":
                self.at = (self.at + 1) % len(self.clients)

    async def aclose(self) -> None:
        for client in self.clients:
            await client.aclose()


@pytest.mark.parametrize("replicas", [("users", "users.2"), ("gateway", "gateway.2")])
async def test_a_rolling_restart_drops_no_request(replicated: Replicated, replicas: tuple[str, str]) -> None:
    """G81: neither of a service behind the gateway nor of the gateway itself."""
    gateways = [replicated.url("gateway"), replicated.url("gateway.2")]
    await replicated.connect()
    people = [await replicated.sign_up() for _ in range(6)]
    await replicated.settle()
    users = [User(gateways, person, at) for at, person in enumerate(people)]
    over = asyncio.Event()

    async def use(user: User) -> None:
        while not over.is_set():
            await user.ask()

    using = [asyncio.ensure_future(use(user)) for user in users]
    try:
        for name in replicas:
            before = sum(len(user.seen) for user in users)

            async def busy(before: int = before) -> bool:
                return sum(len(user.seen) for user in users) > before + 50

            await until(busy, "load")
            assert await asyncio.to_thread(replicated.stop, name) == 0
            await asyncio.to_thread(replicated.start, name)
    finally:
        over.set()
        await asyncio.gather(*using)
        for user in users:
            await user.aclose()
        await replicated.disconnect()

    seen = [each for user in users for each in user.seen]
    assert {status for _, status in seen} == {200}, [each for each in seen if each[1] != 200][:5]
    assert len([method for method, _ in seen if method == "PATCH"]) > 50


async def test_readiness_goes_first_and_what_runs_is_finished(replicated: Replicated) -> None:
    """G81: unready at once, answering still, telling connections to close, and ended by itself."""
    name = "gateway.2"
    process = replicated.running[name]
    async with httpx.AsyncClient(base_url=replicated.url(name), trust_env=False, timeout=30) as client:
        kept = await client.get("/.well-known/jwks.json")
        assert "connection" not in kept.headers
        os.kill(process.pid, signal.SIGTERM)
        states = []

        async def unready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                states.append((await client.get("/health/ready")).status_code)
                states.append((await client.get("/health/live")).status_code)
                told = await client.get("/.well-known/jwks.json")
                states.append((told.status_code, told.headers.get("connection")))
            return process.poll() is not None

        await until(unready, "the end of the process", 30)
    assert (503, 200, (200, "close")) in zip(states, states[1:], states[2:], strict=False)
    assert process.returncode == 0
    replicated.running.pop(name)
    await asyncio.to_thread(replicated.start, name)
