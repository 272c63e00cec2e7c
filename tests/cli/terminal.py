"""`orion` as people run it: a process with its own folder, environment and ports."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

PATIENCE = 120.0
"""Seconds after which a test gives up; ample, since machines that test are busy."""


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment without any ORION setting but a data folder of the test's own, and `more`."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("ORION_")}
    return {**inherited, "ORION_DATA_DIR": str(folder / "data"), "NO_COLOR": "1", "COLUMNS": "250", **more}


def orion(*args: str, env: Mapping[str, str], folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "orion_core.cli", *args],
        env=dict(env),
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Running:
    """A command that keeps running, with everything it has printed so far."""

    def __init__(self, *args: str, env: Mapping[str, str], folder: Path, module: str = "orion_core.cli") -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Iterator[str], lines: list[str]) -> None:
        # One by one, not at the end: others look at the lines meanwhile.
        for line in stream:
            lines.append(line.rstrip("\n"))  # noqa: PERF401 - `extend` would do the same, less plainly

    def wait_for(self, text: str) -> str:
        """The first line of either stream that holds `text`; fails when the process ends or time is up before."""
        until = time.monotonic() + PATIENCE
        while True:
            ended = self.process.poll() is not None
            if ended:
                for reader in self._readers:
                    reader.join(10)
            for line in [*self.out, *self.err]:
                if text in line:
                    return line
            if ended or time.monotonic() > until:
                raise AssertionError(f"{text!r} was not printed:\n" + "\n".join([*self.out, *self.err]))
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(10)
        return code

    def close(self) -> None:
        """End it whatever happens."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextlib.contextmanager
def running(*args: str, env: Mapping[str, str], folder: Path, module: str = "orion_core.cli") -> Iterator[Running]:
    """Start a command that keeps running, and end it afterwards."""
    started = Running(*args, env=env, folder=folder, module=module)
    try:
        yield started
    finally:
        started.close()


def until_ready(url: str) -> None:
    """Wait until the host at `url` says that it is ready."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end, f"{url} did not get ready"
        time.sleep(0.05)


def free_base() -> int:
    """A port such that it, the ports of all services after it, and some a hundred later are free."""
    for _ in range(200):
        base = random.randrange(20_000, 30_000, 10)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in (*range(base, base + 9), *range(base + 100, base + 103)):
                stack.enter_context(contextlib.closing(socket.socket())).bind(("127.0.0.1", port))
            return base
    raise AssertionError("no free range of ports was found")


def install(site: Path, name: str, code: str) -> dict[str, str]:
    """Install a plugin called `name` whose module is `code`; returns what finds it, for the environment."""
    (site / f"{name}_plugin.py").write_text(code)
    folder = site / f"acme_{name}-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text(f"[orion.plugins]\n{name} = {name}_plugin\n")
    (folder / "RECORD").write_text("")
    found = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{site}{os.pathsep}{found}" if found else str(site)}
