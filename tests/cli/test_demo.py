"""`orion demo`, and the host under another server than our own."""

from __future__ import annotations

import json
from pathlib import Path

from terminal import environment, orion, running, until_ready
from test_run import profile, register

from orion_core.testing.ports import free_ports

HOSTS = Path(__file__).parents[2] / "hosts"


def test_the_demo_shows_people_and_what_followed_and_may_be_repeated(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    env = environment(tmp_path, ORION_PORT=str(port))
    first = orion("demo", "--people", "2", "--json", env=env, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert [each["name"] for each in found["people"]] == ["Ada", "Grace"]
    assert all(each["notices"] and each["mails"] == 1 for each in found["people"])
    assert found["people"][0]["bio"]
    assert found["events"]["user.registered"] == 2
    assert found["events"]["user.profile_changed"] == 1
    assert [each["count"] for each in found["counts"] if each["metric"] == "user.registered"] == [2]

    with running("run", env=env, folder=tmp_path) as host:
        host.wait_for("ready in")
        beside = orion("demo", "--people", "2", env=env, folder=tmp_path)
        assert beside.returncode == 0, beside.stderr
        assert "Welcome to" in beside.stdout
        assert "user.registered" in beside.stdout
        by_http = orion("demo", "--people", "1", "--url", f"http://127.0.0.1:{port}", env=env, folder=tmp_path)
        assert by_http.returncode == 0, by_http.stderr
        assert "Ada" in by_http.stdout
        assert host.stop() == 0


def test_the_demo_says_when_no_host_answers(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = orion("demo", "--url", f"http://127.0.0.1:{port}", env=environment(tmp_path), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no answer to /api/v1/auth/register")
    assert "Traceback" not in done.stderr


def test_the_host_runs_under_any_asgi_server(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    args = ("app:app", "--app-dir", str(HOSTS), "--port", str(port))
    with running(*args, env=environment(tmp_path), folder=tmp_path, module="uvicorn") as host:
        url = f"http://127.0.0.1:{port}"
        until_ready(url)
        token = register(url, "ada@example.org").json()["access_token"]
        assert profile(url, token).json()["email"] == "ada@example.org"
        host.stop()
