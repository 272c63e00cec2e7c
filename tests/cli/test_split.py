"""`orion run --split`: the supervisor and its processes, on real servers."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from terminal import PATIENCE, Running, environment, free_base, install, orion, running, until_ready

from orion_core.cli.deployment import ports_of
from orion_core.cli.merged_logs import MergedLogs
from orion_core.cli.process import began
from orion_core.cli.running_split import RunningSplit
from orion_core.plugin import Plugin, discover
from orion_core.testing.processes import Processes

OWN = ("ORION_CALL_KEY", "ORION_KEYRING", "ORION_SERVICES", "ORION_LOG_FORMAT")
"""What the supervisor is to make by itself."""


@contextmanager
def deployment(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a deployment with a database, a broker prefix and a cache prefix of its own, migrated."""
    with Processes(folder, start=False) as servers:
        yield {name: text for name, text in servers.env.items() if name not in OWN} | {"COLUMNS": "250"}


def pids(host: Running) -> dict[str, int]:
    """The processes in the table of a supervisor."""
    rows = [re.split(r" {2,}", line) for line in host.out]
    return {row[0]: int(row[2]) for row in rows if len(row) > 3 and row[2].isdigit()}


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def register(url: str, email: str) -> dict[str, str]:
    body = {"email": email, "password": "correct horse battery", "name": "Ada"}
    answer = httpx.post(f"{url}/api/v1/auth/register", json=body, trust_env=False, timeout=30)
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def me(url: str, headers: dict[str, str]) -> httpx.Response:
    """The caller's profile, asked for until it has arrived."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = httpx.get(f"{url}/api/v1/users/me", headers=headers, trust_env=False, timeout=30)
        if answer.status_code not in (404, 503) or time.monotonic() > end:
            return answer
        time.sleep(0.05)


@pytest.mark.processes
def test_a_process_that_dies_is_named_and_started_again_and_d29_a_signal_stops_all_in_order(tmp_path: Path) -> None:
    base = free_base()
    gateway = f"http://127.0.0.1:{base}"
    with deployment(tmp_path) as env, running("run", "--split", "--port", str(base), env=env, folder=tmp_path) as host:
        host.wait_for("ready in")
        processes = pids(host)
        assert set(processes) == set(discover().plugins)
        state = tmp_path / "split.json"
        assert state.stat().st_mode & 0o777 == 0o600
        assert me(gateway, register(gateway, "ada@example.org")).json()["name"] == "Ada"

        again = orion("run", "--split", "--port", str(base), env=env, folder=tmp_path)
        assert again.returncode == 1
        assert f"already (pid {host.process.pid})" in again.stderr

        os.kill(processes["users"], signal.SIGKILL)
        host.wait_for("users ended (killed by SIGKILL); starting it again in 0.5 s")
        until_ready(f"http://127.0.0.1:{base + 2}")
        assert me(gateway, register(gateway, "grace@example.org")).json()["name"] == "Ada"

        assert host.stop() == 0
        assert host.out[-1] == "stopped"
        assert not state.exists()
        assert not any(lives(pid) for name, pid in processes.items() if name != "users")
        events = [json.loads(line) for line in host.err if line.startswith("{")]
        assert {event["service"] for event in events} == set(processes)
        assert all(line.startswith("{") for line in host.err), host.err


@pytest.mark.processes
def test_a_process_that_is_left_can_be_started_by_hand_with_what_the_split_tells(tmp_path: Path) -> None:
    base = free_base()
    gateway = f"http://127.0.0.1:{base}"
    with deployment(tmp_path) as env:
        by_hand = environment(tmp_path, ORION_DATA_DIR=str(tmp_path))
        args = ("run", "--split", "--no-restart", "--port", str(base), "gateway", "auth", "users")
        with running(*args, env=env, folder=tmp_path) as host:
            host.wait_for("ready in")
            os.kill(pids(host)["users"], signal.SIGKILL)
            host.wait_for("start it again with: orion run users")
            headers = register(gateway, "ada@example.org")
            answer = httpx.get(f"{gateway}/api/v1/users/me", headers=headers, trust_env=False, timeout=30)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")

            with running("run", "users", env=by_hand, folder=tmp_path) as users:
                users.wait_for("ready in")
                assert any(f"http://127.0.0.1:{base + 2}" in line for line in users.out)
                assert me(gateway, headers).json()["email"] == "ada@example.org"
                made = orion(
                    *("users", "create-admin", "--email", "root@example.org", "--password", "correct horse battery"),
                    env=by_hand,
                    folder=tmp_path,
                )
                assert made.returncode == 0, made.stderr
                assert users.stop(signal.SIGTERM) == 0
            assert host.stop(signal.SIGTERM) == 0


@pytest.mark.processes
def test_processes_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with deployment(tmp_path) as env:
        args = ("run", "--split", "--port", str(free_base()), "users", "analytics")
        with running(*args, env=env, folder=tmp_path) as host:
            host.wait_for("ready in")
            processes = pids(host)
            host.process.kill()
            host.process.wait()
            end = time.monotonic() + PATIENCE
            while any(lives(pid) for pid in processes.values()):
                assert time.monotonic() < end, processes
                time.sleep(0.05)
        assert RunningSplit.find(tmp_path) is None


@pytest.mark.processes
def test_a_process_that_refuses_to_start_three_times_stops_everything_with_its_reason(tmp_path: Path) -> None:
    stubborn = """
import abc, attrs
from orion_core.contract import Contract
from orion_core.errors import StartRefused
from orion_core.plugin import Plugin, hookimpl

class Stubborn(Contract, name="stubborn"):
    @abc.abstractmethod
    async def work(self) -> None:
        "Never."

@attrs.frozen
class StubbornService(Stubborn):
    async def work(self) -> None: ...
    async def __aenter__(self):
        raise StartRefused(["ORION_STUBBORN_LICENCE is not set: buy one"])
    async def __aexit__(self, *_): ...

@hookimpl
def orion_plugin():
    return Plugin("stubborn", service=StubbornService)
"""
    site = tmp_path / "site"
    site.mkdir()
    with deployment(tmp_path) as env:
        env |= install(site, "stubborn", stubborn)
        args = ("run", "--split", "--port", str(free_base()), "stubborn", "users")
        with running(*args, env=env, folder=tmp_path) as host:
            host.wait_for("stubborn ended (exit code 1), 3 times in a row; stopping everything")
            assert host.process.wait(PATIENCE) == 1
            host.wait_for("error: stubborn: ORION_STUBBORN_LICENCE is not set: buy one")


@pytest.mark.processes
def test_pending_migrations_are_refused_with_the_command_that_applies_them(tmp_path: Path) -> None:
    with deployment(tmp_path) as env:
        assert orion("migrate", "down", "users", "--yes", env=env, folder=tmp_path).returncode == 0
        refused = orion("run", "--split", "--port", str(free_base()), env=env, folder=tmp_path)
        assert refused.returncode == 1
        assert "migrations are pending in users; apply them with: orion migrate up" in refused.stderr
        assert not (tmp_path / "split.json").exists()


@pytest.mark.processes
def test_six_migrations_at_once_all_succeed_and_each_runs_once(tmp_path: Path) -> None:
    with deployment(tmp_path) as env:
        # All of users' own, then core's: as if the database were new.
        assert orion("migrate", "down", "users", "--steps", "9", "--yes", env=env, folder=tmp_path).returncode == 0
        command = [sys.executable, "-m", "orion_core.cli", "migrate", "up", "users"]
        started = [
            subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(6)
        ]
        printed = [process.communicate(timeout=PATIENCE)[0] for process in started]
        assert [process.returncode for process in started] == [0] * 6
        applied = [line for text in printed for line in text.splitlines() if "applied" in line]
        assert len(applied) == len(set(applied)) > 2


def test_ports_are_the_plugins_own_moved_by_the_gateways() -> None:
    plugins = {each.name: each for each in (Plugin("auth", port=3001), Plugin("one"), Plugin("two"))}
    assert ports_of(plugins, 3000) == {"auth": 3001, "one": 3100, "two": 3101}
    assert ports_of(plugins, 4000) == {"auth": 4001, "one": 4100, "two": 4101}


def test_merged_logs_keep_one_line_for_one_event() -> None:
    as_json, as_text = io.StringIO(), io.StringIO()
    logs = MergedLogs(as_json, ["auth", "users"], as_json=True)
    logs.heard("auth", '{"event": "request"}')
    logs.heard("users", "Traceback (most recent call last):")
    first, second = map(json.loads, as_json.getvalue().splitlines())
    assert first == {"event": "request"}
    assert (second["service"], second["event"]) == ("users", "Traceback (most recent call last):")
    MergedLogs(as_text, ["auth", "users"], as_json=False).heard("auth", "ready")
    assert as_text.getvalue() == "auth  │ ready\n"


def test_a_split_whose_supervisor_has_died_counts_no_more(tmp_path: Path) -> None:
    alive = RunningSplit.of({"auth": 3001}, {"ORION_CALL_KEY": "k:s"})
    alive.write(tmp_path)
    assert RunningSplit.find(tmp_path) == alive
    # The number of a process that began at another time: it was given to somebody else.
    RunningSplit(os.getpid(), began(os.getpid()) - 100, {}, {}).write(tmp_path)
    assert RunningSplit.find(tmp_path) is None
    alive.remove(tmp_path)
    assert RunningSplit.find(tmp_path) is None
    (tmp_path / "split.json").write_text("not JSON")
    assert RunningSplit.find(tmp_path) is None
