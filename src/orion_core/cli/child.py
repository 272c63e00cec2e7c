"""One process of ``orion run --split``: started, watched, read and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

_LONGEST_LINE = 8 * 1024 * 1024
_GROUP: dict[str, Any] = {} if sys.platform == "win32" else {"process_group": 0}


@attrs.define
class Child:
    """The process of one service. `heard` is given every line that it prints."""

    name: str
    url: str
    options: Sequence[str]
    environment: Mapping[str, str] = attrs.field(repr=False)
    heard: Callable[[str, str], None] = attrs.field(repr=False)
    process: Process | None = attrs.field(default=None, init=False)
    ready: bool = attrs.field(default=False, init=False)
    ready_after: float | None = attrs.field(default=None, init=False)
    _stopped: bool = attrs.field(default=False, init=False)
    tail: deque[str] = attrs.field(factory=lambda: deque(maxlen=20), init=False, repr=False)

    async def run(self) -> int:
        """Start the process and wait for its end; returns its exit code, negative for the signal that killed it."""
        self.ready = False
        self.tail.clear()
        began = time.monotonic()
        # A group of its own: Ctrl-C on the terminal reaches the supervisor alone. Standard input stays open for as long
        # as the supervisor lives; its end tells the process that nobody watches it any more.
        process = self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orion_core.cli",
            "run",
            self.name,
            "--supervised",
            *self.options,
            env=dict(self.environment),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_LONGEST_LINE,
            **_GROUP,
        )
        if self._stopped:
            self.signal(signal.SIGTERM)
        watching = asyncio.create_task(self._watch(began), name=f"watch {self.name}")
        try:
            await self._read(process)
            return await process.wait()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            self.process = None
            self.ready = False

    async def stop(self, patience: float) -> bool:
        """Ask the process to end, and kill it after `patience` seconds; returns whether it ended by itself."""
        self._stopped = True
        process = self.process
        if process is None or process.returncode is not None:
            return True
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            self.kill()
            await process.wait()
            return False
        return True

    def kill(self) -> None:
        """End the process at once."""
        self.signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process to take it."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                # A line beyond the limit: asyncio has dropped it.
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self.tail.append(text)
            self.heard(self.name, text)

    async def _watch(self, began: float) -> None:
        while True:
            if await answers(self.url):
                break
            await asyncio.sleep(0.05)
        self.ready = True
        self.ready_after = time.monotonic() - began


async def answers(url: str) -> bool:
    """Whether the host at `url` says that it is ready."""
    at = urlsplit(url)
    # By hand: a supervisor asks many times while the machine is busy with starting.
    question = f"GET /health/ready HTTP/1.1\r\nhost: {at.netloc}\r\nconnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(at.hostname, at.port)
            try:
                writer.write(question.encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
