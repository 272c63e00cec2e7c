"""The reach `processes`: one real process per service on PostgreSQL, Redis and RabbitMQ, each with names of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from orion_core import calls
from orion_core.calls import CallKeys
from orion_core.composition import has_database, hears, tells
from orion_core.contract import Contract, stub
from orion_core.keyring import Keyring
from orion_core.plugin import Plugin, discover
from orion_core.ports.bus import Subscription
from orion_core.ports.database import Database
from orion_core.testing import engines
from orion_core.testing.brokers import sweep
from orion_core.testing.databases import postgres_database
from orion_core.testing.orion import Orion
from orion_core.testing.ports import free_ports
from orion_core.testing.services import amqp_url, redis_url

C = TypeVar("C", bound=Contract)
T = TypeVar("T")

DELAYS = (0.05, 0.05, 0.05)
READY_WITHIN = 60.0


class Processes(Orion):
    """Starts a deployment of `names` (all installed services) and talks to it; a context manager.

    `env` is added to the environment of every process. Tests of outages use `stop`, `start` and `kill`.
    """

    reach = "processes"

    def __init__(
        self, folder: Path, names: Iterable[str] = (), *, env: Mapping[str, str] | None = None, start: bool = True
    ) -> None:
        found = discover().plugins
        self.plugins: dict[str, Plugin] = {name: found[name] for name in (tuple(names) or found)}
        self.folder = folder
        self.mail_folder = folder / "mail"
        self.prefix = f"test-{secrets.token_hex(5)}"
        self.ports = dict(zip(self.plugins, free_ports(len(self.plugins)), strict=True))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._all = found
        self._more = dict(env or {})
        self._autostart = start
        self._key = f"test:{secrets.token_hex(32)}"
        self._stack = contextlib.ExitStack()
        self._checked: dict[str, int] = {}
        self._databases: dict[str, Database] = {}

    # The deployment

    def __enter__(self) -> Self:
        amqp, redis = amqp_url(), redis_url()
        self._runner = self._stack.enter_context(asyncio.Runner())
        database = postgres_database()
        self.database_url: str = self._runner.run(database.__aenter__())
        self._stack.callback(lambda: self._runner.run(database.__aexit__(None, None, None)))
        self._stack.callback(lambda: self._runner.run(self._sweep(amqp)))
        self.folder.mkdir(parents=True, exist_ok=True)
        keyring = self.folder / "keyring.json"
        keyring.write_text(Keyring.generate().dump())
        inherited = {key: text for key, text in os.environ.items() if not key.startswith("ORION_")}
        self.env = {
            **inherited,
            "ORION_DATA_DIR": str(self.folder),
            "ORION_KEYRING": str(keyring),
            "ORION_DATABASE_URL": f"{self.database_url}?schema={{service}}",
            "ORION_DATABASE_POOL": "2",
            "ORION_BUS_URL": f"{amqp}{'&' if '?' in amqp else '?'}prefix={self.prefix}",
            "ORION_CACHE_URL": f"{redis}{'&' if '?' in redis else '?'}prefix={self.prefix}:",
            "ORION_LIMITS_URL": "none:",
            "ORION_CALL_KEY": self._key,
            "ORION_SERVICES": ",".join(self.plugins),
            "ORION_RETRY_DELAYS": ",".join(map(str, DELAYS)),
            "ORION_LOG_FORMAT": "json",
            **self._more,
        }
        self._stack.callback(self.stop_all)
        try:
            self.run("migrate", "up")
            if self._autostart:
                self.start(*self.plugins)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, *command: str) -> str:
        """Run one `orion` command in the deployment's environment and return what it printed."""
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "orion_core.cli", *command],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"orion {' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def url(self, name: str) -> str:
        """The base URL of one process."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def launch(self, name: str, **more: str) -> subprocess.Popen[bytes]:
        """Start the process of one service and return at once."""
        peers = ",".join(f"{other}={self.url(other)}" for other in self.plugins if other != name)
        env = {**self.env, "ORION_PORT": str(self.ports[name]), "ORION_PEERS": peers, **more}
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "orion_core.cli", "run", name],
            env=env,
            cwd=self.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self.running[name] = process
        return process

    def start(self, *names: str) -> None:
        """Start processes and wait until each is ready."""
        for name in names:
            self.launch(name)
        for name in names:
            self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Wait until one process answers that it is ready."""
        end = time.monotonic() + READY_WITHIN
        with httpx.Client(trust_env=False, timeout=2) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"{self.url(name)}/health/ready").status_code == 200:
                        return
                if self.running[name].poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"{name} did not get ready:\n{self.log(name)}")
                time.sleep(0.05)

    def log(self, name: str) -> str:
        """The end of what one process logged."""
        return (self.folder / f"{name}.log").read_text()[-8000:]

    def stop(self, name: str) -> int:
        """End one process in order and return its exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{name} did not stop:\n{self.log(name)}") from None

    def kill(self, name: str) -> None:
        """End one process at once (`kill -9`)."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def stop_all(self) -> None:
        """End whatever still runs."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()

    async def _sweep(self, amqp: str) -> None:
        await sweep(amqp, self.prefix, self._subscriptions(), self._families(), DELAYS)

    def _subscriptions(self) -> list[Subscription]:
        return [
            Subscription(listener.queue, listener.names, listener.broadcast)
            for plugin in self.plugins.values()
            for listener in hears(plugin)
        ]

    def _families(self) -> list[str]:
        told = [name for plugin in self._all.values() for name in tells(plugin)]
        heard = [name for plugin in self._all.values() for listener in hears(plugin) for name in listener.names]
        return sorted({name.partition(".")[0] for name in [*told, *heard]})

    # What a test sees

    async def connect(self) -> None:
        """Open clients and databases in the event loop of the test."""
        from orion_core.adapters.postgres import PostgresDatabase

        self.http = httpx.AsyncClient(base_url=self.url("gateway"), trust_env=False, timeout=30)
        self._client = httpx.AsyncClient(trust_env=False, timeout=calls.TIMEOUT)
        for name, plugin in self.plugins.items():
            if has_database(plugin):
                self._databases[name] = await PostgresDatabase.open(f"{self.database_url}?schema={name}", pool=2)

    async def disconnect(self) -> None:
        """Close what `connect` opened."""
        await self.http.aclose()
        await self._client.aclose()
        for db in self._databases.values():
            await db.aclose()
        self._databases.clear()

    def service(self, contract: type[C]) -> C:
        name = contract.contract_name
        call = calls.remote(name, [self.url(name)], self._client, CallKeys.parse(self._key))
        return stub(contract, call, lambda: False)

    async def settle(self) -> None:
        await engines.until(self._idle, "settling", 60.0)

    async def _idle(self) -> bool:
        for db in self._databases.values():
            if await engines.open_work(db):
                return False
        for name, db in self._databases.items():
            if not await self._arrived(name, db):
                return False
        # What arrived may have led to more.
        return not any([await engines.open_work(db) for db in self._databases.values()])

    async def _arrived(self, publisher: str, db: Database) -> bool:
        """Whether every event of `publisher` is in the inbox of each of its listeners."""
        since = self._checked.get(publisher, 0)
        told = await db.fetch("SELECT position, event_id, name FROM orion_outbox WHERE position > $1", since)
        for name, plugin in self.plugins.items():
            for listener in hears(plugin):
                wanted = {row["event_id"] for row in told if row["name"] in listener.names or not listener.names}
                if listener.broadcast or not wanted:
                    continue
                seen = await self._databases[name].fetch(
                    "SELECT event_id FROM orion_inbox WHERE queue = $1", listener.queue
                )
                if wanted - {row["event_id"] for row in seen}:
                    return False
        if told:
            self._checked[publisher] = max(row["position"] for row in told)
        return True

    async def told(self, cls: type[T]) -> list[T]:
        return await engines.told(self._databases, cls)

    async def advance(self, by: timedelta) -> None:
        raise RuntimeError("processes go by the machine's clock: run this test local or wire")

    async def rows(self, service: str, sql: str, *args: Any) -> list[dict[str, Any]]:
        """Rows of the database of one service."""
        return await self._databases[service].fetch(sql, *args)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the gateway."""
        parts = urlsplit(self.url("gateway"))
        return parts.hostname or "", parts.port or 0
