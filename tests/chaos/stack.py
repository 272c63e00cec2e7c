"""The two ways to run ORION that are shot at: one process on SQLite, and one per service on the three servers."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.composition import has_database
from orion_core.plugin import discover
from orion_core.ports.database import Database
from orion_core.testing.engines import until
from orion_core.testing.ports import free_ports
from orion_core.testing.processes import Processes

READY_WITHIN = 60.0
RECEIVERS = {"ORION_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8"}
"""Webhooks may reach the receiver of the test."""


class Stack(abc.ABC):
    """A running deployment whose processes can be killed one by one; a killed one is started again at once."""

    folder: Path

    @property
    @abc.abstractmethod
    def victims(self) -> Sequence[str]:
        """The names of its processes."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where the public HTTP face is."""

    @abc.abstractmethod
    def url_of(self, victim: str) -> str:
        """Where one process answers."""

    @abc.abstractmethod
    def kill(self, victim: str) -> None:
        """`kill -9`, and a new process in its place."""

    @abc.abstractmethod
    def databases(self) -> contextlib.AbstractAsyncContextManager[Mapping[str, Database]]:
        """The databases by service, open for a look."""

    @abc.abstractmethod
    def run(self, *command: str) -> None:
        """Run one `orion` command beside the deployment."""

    @abc.abstractmethod
    def log(self, victim: str) -> str:
        """The end of what one process logged."""

    @property
    def mails(self) -> Sequence[Path]:
        """The mails that were sent."""
        return sorted((self.folder / "mail").glob("*.eml"))

    async def ready(self, victim: str) -> None:
        """Wait until one process says that it is ready."""
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:

            async def answers() -> bool:
                try:
                    return (await client.get(f"{self.url_of(victim)}/health/ready")).status_code == 200
                except httpx.HTTPError:
                    return False

            try:
                await until(answers, f"{victim} getting ready", READY_WITHIN)
            except AssertionError as error:
                raise AssertionError(f"{error}:\n{self.log(victim)}") from None


class OneProcess(Stack):
    """`orion run` as it is after installing: SQLite with `synchronous=FULL`, the embedded bus, mail into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def victims(self) -> Sequence[str]:
        return ["orion"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def url_of(self, victim: str) -> str:
        return self.url

    def kill(self, victim: str) -> None:
        self._end()
        self._start()

    @contextlib.asynccontextmanager
    async def databases(self) -> AsyncIterator[Mapping[str, Database]]:
        # Opened for each look and closed: while another process has the file open, SQLite recovers nothing at a start.
        async with contextlib.AsyncExitStack() as stack:
            opened: dict[str, Database] = {}
            for name, plugin in discover().plugins.items():
                if has_database(plugin):
                    opened[name] = await SqliteDatabase.open(self.folder / f"{name}.db")
                    stack.push_async_callback(opened[name].aclose)
            yield opened

    def log(self, victim: str) -> str:
        return (self.folder / "log").read_text()[-8000:]

    def run(self, *command: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "orion_core.cli", *command],
            env=self._env,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @property
    def _env(self) -> dict[str, str]:
        env = {key: text for key, text in os.environ.items() if not key.startswith("ORION_")}
        return {**env, **RECEIVERS, "ORION_DATA_DIR": str(self.folder), "ORION_PORT": str(self._port)}

    def _start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orion_core.cli", "run"],
                env=self._env,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class ManyProcesses(Stack):
    """One process per service on PostgreSQL, Redis and RabbitMQ."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes = Processes(folder, env=RECEIVERS)

    def __enter__(self) -> Self:
        self._processes.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.__exit__(None, None, None)

    @property
    def victims(self) -> Sequence[str]:
        return list(self._processes.plugins)

    @property
    def url(self) -> str:
        return self._processes.url("gateway")

    def url_of(self, victim: str) -> str:
        return self._processes.url(victim)

    def kill(self, victim: str) -> None:
        self._processes.kill(victim)
        self._processes.launch(victim)

    @contextlib.asynccontextmanager
    async def databases(self) -> AsyncIterator[Mapping[str, Database]]:
        from orion_core.adapters.postgres import PostgresDatabase

        async with contextlib.AsyncExitStack() as stack:
            opened: dict[str, Database] = {}
            for name, plugin in self._processes.plugins.items():
                if has_database(plugin):
                    opened[name] = await PostgresDatabase.open(f"{self._processes.database_url}?schema={name}", pool=1)
                    stack.push_async_callback(opened[name].aclose)
            yield opened

    def run(self, *command: str) -> None:
        self._processes.run(*command)

    def log(self, victim: str) -> str:
        return self._processes.log(victim)


async def all_ready(stack: Stack) -> None:
    """Wait until every process is ready."""
    await asyncio.gather(*(stack.ready(victim) for victim in stack.victims))
