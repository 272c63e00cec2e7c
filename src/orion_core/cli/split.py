"""``orion run --split``: one supervised process per service."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from orion_core.cli.child import Child
from orion_core.cli.configured import Configured
from orion_core.cli.console import fail, say, table, warn
from orion_core.cli.deployment import Deployment, plan, refuse_what_is_not_ready
from orion_core.cli.merged_logs import MergedLogs
from orion_core.cli.process import began
from orion_core.cli.running_split import RunningSplit
from orion_core.settings import Settings

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
STEADY = 60.0
"""Seconds of life after which a process that dies is started again at once."""
REFUSALS = 3
PATIENCE = 60.0
"""Seconds that the processes have to become ready before the table is printed without them."""


def supervise(found: Configured, services: Sequence[str], *, restart: bool, strict: bool) -> int:
    """Run `services` (all if none) until a signal comes; returns the exit code. Raises `StartRefused`."""
    deployment = plan(found, services)
    return asyncio.run(_supervise(found, deployment, restart=restart, strict=strict))


def _trusts(name: str, settings: Settings) -> dict[str, str]:
    """Behind the gateway of this machine, services believe it about the client's address, unless set otherwise."""
    if name == "gateway" or settings.trusted_proxies:
        return {}
    return {"ORION_TRUSTED_PROXIES": "127.0.0.0/8,::1/128"}


async def _supervise(found: Configured, deployment: Deployment, *, restart: bool, strict: bool) -> int:
    await refuse_what_is_not_ready(found, deployment)
    settings = found.settings
    if settings.cache_url.startswith("memory:"):
        warn("every process has a cache of its own: set ORION_CACHE_URL=redis://… to share one")
    for broken in found.discovery.broken:
        warn(f"the plugin {broken.name} cannot be loaded: {broken.reason}")
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    logs = MergedLogs(sys.stderr, deployment.names, as_json=as_json)
    environment = {**os.environ, **deployment.environment, "ORION_LOG_FORMAT": "json" if as_json else "text"}
    children = [
        Child(
            name,
            deployment.urls[name],
            ["--strict"] if strict else [],
            {**environment, "ORION_PORT": str(deployment.ports[name]), **_trusts(name, found.settings)},
            logs.heard,
        )
        for name in deployment.names
    ]
    running = RunningSplit.of(deployment.ports, deployment.environment)
    running.write(settings.data_dir)
    try:
        supervisor = Supervisor(children, logs, restart=restart, grace=settings.shutdown_grace)
        return await supervisor.run(_stopping_order(found, children))
    finally:
        running.remove(settings.data_dir)


class Supervisor:
    """Keeps `children` running until it is told to stop."""

    def __init__(self, children: Sequence[Child], logs: MergedLogs, *, restart: bool, grace: float) -> None:
        self._children = children
        self._logs = logs
        self._restart = restart
        self._grace = grace
        self._stopping = asyncio.Event()
        self._refused: Child | None = None

    async def run(self, stopping_order: Sequence[Sequence[Child]]) -> int:
        """Start all, keep them running, and stop them in `stopping_order` after SIGINT or SIGTERM; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        keeping = [asyncio.create_task(self._keep(child), name=f"keep {child.name}") for child in self._children]
        introducing = asyncio.create_task(self._introduce(keeping), name="introduce")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        # Without restarts the last process may end by itself.
        ended = asyncio.create_task(asyncio.wait(keeping, return_when=asyncio.FIRST_EXCEPTION), name="ended")
        waiting: list[asyncio.Task[Any]] = [stopping, ended]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        by_themselves = not self._stopping.is_set()
        self._stopping.set()
        for group in stopping_order:
            await asyncio.gather(*(self._stop(child) for child in group))
        await asyncio.wait([*keeping, *waiting, introducing])
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        for task in keeping:
            task.result()
        if self._refused is not None:
            fail(_last_words(self._refused))
            return 1
        if by_themselves:
            fail(["no process is left"])
            return 1
        say("stopped")
        return 0

    def _signalled(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            return
        for child in self._children:
            child.kill()

    async def _stop(self, child: Child) -> None:
        if not await child.stop(self._grace + 5):
            self._logs.tell(child.name, f"{child.name} did not end within {self._grace:g} s and was killed")

    async def _keep(self, child: Child) -> None:
        delay, refusals, ever_ready = FIRST_DELAY, 0, False
        while not self._stopping.is_set():
            started = time.monotonic()
            child.ready_after = None
            code = await child.run()
            if self._stopping.is_set():
                return
            ever_ready = ever_ready or child.ready_after is not None
            if time.monotonic() - started > STEADY:
                delay = FIRST_DELAY
            # Exit code 1 before it was ever ready: it refused to start, and would again. Later the reason is outside,
            # such as a database that is away, and may pass.
            refusals = refusals + 1 if code == 1 and not ever_ready else 0
            what = f"{child.name} ended ({_how(code)})"
            if not self._restart:
                self._logs.tell(child.name, f"{what}; start it again with: orion run {child.name}")
                return
            if refusals == REFUSALS:
                self._logs.tell(child.name, f"{what}, {REFUSALS} times in a row; stopping everything")
                self._refused = child
                self._stopping.set()
                return
            self._logs.tell(child.name, f"{what}; starting it again in {delay:g} s")
            await self._rest(delay)
            delay = min(LONGEST_DELAY, delay * 2)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _introduce(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        until = time.monotonic() + PATIENCE
        while not self._stopping.is_set() and time.monotonic() < until:
            if all(child.ready or task.done() for child, task in zip(self._children, keeping, strict=True)):
                break
            await self._rest(0.05)
        if self._stopping.is_set():
            return
        table("", ("service", "URL", "pid", "ready after"), [list(_row(child)) for child in self._children])
        late = [child.name for child in self._children if not child.ready]
        if late:
            warn(f"not ready: {', '.join(late)}")
        say(f"ready in {time.time() - began(os.getpid()):.2f} s")


def _row(child: Child) -> Iterator[str]:
    yield child.name
    yield child.url
    yield str(child.process.pid) if child.process else "-"
    yield f"{child.ready_after:.2f} s" if child.ready and child.ready_after is not None else "not ready"


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _last_words(child: Child) -> list[str]:
    said = [line.removeprefix("error: ") for line in child.tail if line.startswith("error: ")] or list(child.tail)
    return [f"{child.name}: {line}" for line in said] or [f"{child.name} refused to start and did not say why"]


def _stopping_order(found: Configured, children: Sequence[Child]) -> list[list[Child]]:
    """Intake first; auth last, since all others verify tokens with it."""
    intake = [child for child in children if found.discovery.plugins[child.name].asgi is not None]
    last = [child for child in children if child.name == "auth"]
    return [intake, [child for child in children if child not in intake and child not in last], last]
