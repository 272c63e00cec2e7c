"""The tour prints the same lines in one process and in many."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orion_core.testing.ports import free_block, free_ports
from orion_core.testing.processes import Processes

TOUR = Path(__file__).parents[2] / "examples" / "tour.py"
PATIENCE = 120.0
SIZE = 5
RECEIVERS = {"ORION_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8"}
OWN = ("ORION_CALL_KEY", "ORION_KEYRING", "ORION_SERVICES")
"""What `--split` makes by itself."""
LINES = [
    "registered: Ada Lovelace",
    "preference: editor.font_size = 14 (integer)",
    'preference: editor.theme = "dark" (string)',
    "avatar: sent as image/png, shown to everybody as image/jpeg",
    "file: 5 MB uploaded, the same bytes arrived",
    "signed URL: bytes 1999950-2000049/5000000, the bytes that were sent; without it: refused",
    "found by the beginning of the name: <mark>Ada</mark> <mark>Lovelace</mark>",
    "found by a phrase: <mark>Ada Lovelace</mark>",
    "found by the words in the wrong order: 0",
    "tracked: 5 accepted, 0 known already",
    "tracked: 0 accepted, 5 known already",
    "trend: 5 events by plan: team 3, solo 2; people: 1",
    "webhook: user.registered, signature verified",
]


def environment(folder: Path, **more: str) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("ORION_")}
    return {**inherited, "ORION_DATA_DIR": str(folder / "data"), **more}


def tour(url: str, env: Mapping[str, str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TOUR, "--url", url, "--size", str(SIZE), *more],
        env=dict(env),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )


@contextlib.contextmanager
def host(env: Mapping[str, str], folder: Path, *args: str) -> Iterator[None]:
    """`orion run` with `args`, from the moment it says that it is ready; stopped in order afterwards."""
    log = folder / "host.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "orion_core.cli", "run", *args],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + PATIENCE
        while "ready in" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def test_the_tour_leads_through_one_process_and_can_be_taken_twice(tmp_path: Path) -> None:
    env = environment(tmp_path, **RECEIVERS)
    port = free_ports(1)[0]
    with host(env, tmp_path, "--port", str(port)):
        first = tour(f"http://127.0.0.1:{port}", env, tmp_path)
        again = tour(f"http://127.0.0.1:{port}", env, tmp_path)

    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == LINES
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr


@pytest.mark.processes
def test_the_tour_leads_through_many_processes(tmp_path: Path) -> None:
    base = free_block()
    with Processes(tmp_path, start=False) as servers:
        env = {name: text for name, text in servers.env.items() if name not in OWN} | RECEIVERS
        with host(env, tmp_path, "--split", "--port", str(base)):
            taken = tour(f"http://127.0.0.1:{base}", env, tmp_path)

    assert taken.returncode == 0, taken.stderr
    assert taken.stdout.splitlines() == LINES


def test_the_tour_says_what_is_missing(tmp_path: Path) -> None:
    env = environment(tmp_path)
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    nobody = tour(url, env, tmp_path)
    with host(env, tmp_path, "--port", str(port)):
        unreachable = tour(url, env, tmp_path)
        unknown = tour(url, environment(tmp_path / "elsewhere"), tmp_path)

    assert [each.returncode for each in (nobody, unreachable, unknown)] == [1, 1, 1]
    assert nobody.stderr == f"tour: nobody answers at {url}: start a host with `orion run`, or give --url\n"
    assert "start the host with ORION_WEBHOOKS_ALLOWED_NETWORKS=127.0.0.0/8" in unreachable.stderr
    assert "take the tour in the folder and environment (ORION_*) of the host" in unknown.stderr
