"""The load of the benchmark of the front door: wrk for all sides alike, its figures, and which cores who gets."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

CONNECTIONS = 32
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
SERVERS, LOAD = CORES[0], CORES[-1]
"""The core of what is measured, and that of the load and of the origins."""
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_REFUSED = re.compile(r"(Non-2xx or 3xx responses|Socket errors): .*")


@attrs.frozen
class Side:
    """Something that answers at `url`, asked with `headers`."""

    name: str
    url: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Compared:
    """A row of the table: `ours` in units of `peer`, round by round."""

    row: str
    what: str
    peer: str
    target: float
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Ours through theirs of the same round."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)


def require_wrk() -> None:
    """Exit with words when the load generator is not there."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: install it first, on Debian with apt-get install wrk")


def pin(pid: int, core: int) -> None:
    """Keep a running process, with all its threads, on one core, where the system can do that."""
    if len(CORES) < 2:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # A thread may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


def wrk(side: Side, seconds: float) -> float:
    """Requests per second of `side` under all connections; raises RuntimeError when it did not answer all with 2xx."""
    headers = [part for name, text in side.headers.items() for part in ("-H", f"{name}: {text}")]
    duration = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration}s", *headers, side.url]
    if len(CORES) > 1 and shutil.which("taskset"):
        command = ["taskset", "-c", str(LOAD), *command]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=duration + 60, check=True).stdout
    if refused := _REFUSED.search(printed):
        raise RuntimeError(f"{side.name}: {refused[0]}")
    found = _RATE.search(printed)
    assert found is not None
    return float(found[1])


def in_turns(sides: Sequence[Side], rounds: int, seconds: float) -> dict[str, tuple[float, ...]]:
    """The rates of all sides, by name, each round in the other order; a round before them warms up."""
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    for turn in range(rounds + 1):
        for side in sides if turn % 2 else reversed(sides):
            rate = wrk(side, seconds if turn else 1)
            if turn:
                found[side.name].append(rate)
    return {name: tuple(rates) for name, rates in found.items()}
