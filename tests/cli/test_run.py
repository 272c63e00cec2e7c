"""`orion run` in one process, as a real process."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import httpx
from terminal import PATIENCE, environment, install, orion, running

from orion_core.testing.ports import free_ports


def register(url: str, email: str) -> httpx.Response:
    body = {"email": email, "password": "correct horse battery", "name": "Ada"}
    return httpx.post(f"{url}/api/v1/auth/register", json=body, trust_env=False, timeout=30)


def profile(url: str, token: str) -> httpx.Response:
    """The caller's profile, once it has arrived."""
    until = time.monotonic() + PATIENCE
    while True:
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.get(f"{url}/api/v1/users/me", headers=headers, trust_env=False, timeout=30)
        if answer.status_code != 404 or time.monotonic() > until:
            return answer
        time.sleep(0.05)


def test_d4_run_serves_everything_in_one_process_and_keeps_it_over_a_restart(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    env = environment(tmp_path, ORION_PORT=str(port))
    with running("run", env=env, folder=tmp_path) as host:
        host.wait_for("ready in")
        assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200
        answer = register(url, "ada@example.org")
        assert answer.status_code == 201
        assert "server" not in answer.headers
        assert "date" in answer.headers
        token = answer.json()["access_token"]
        assert profile(url, token).json()["email"] == "ada@example.org"
        assert host.stop() == 0
    printed = "\n".join(host.out)
    assert url in printed
    assert f"{url}/schema" in printed
    assert str(tmp_path / "data") in printed
    assert str(tmp_path / "data" / "mail") in printed
    assert "analytics, auth, gateway, notifications, search, storage, users, webhooks" in printed
    assert host.out[-1] == "stopped"
    with running("run", env=env, folder=tmp_path) as host:
        host.wait_for("ready in")
        assert profile(url, token).json()["email"] == "ada@example.org"
        assert host.stop(signal.SIGTERM) == 0


def test_run_of_one_service_says_what_nobody_serves(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running("run", "users", "--port", str(port), env=environment(tmp_path), folder=tmp_path) as host:
        host.wait_for("ready in")
        assert any("not served" in line and "auth (installed but not served)" in line for line in host.out)
        assert host.stop() == 0


def test_run_strict_refuses_what_nobody_serves(tmp_path: Path) -> None:
    done = orion("run", "users", "--strict", env=environment(tmp_path), folder=tmp_path)
    assert done.returncode == 1
    assert "error: nobody serves auth" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named_with_the_fix(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = orion("run", "--port", str(port), env=environment(tmp_path), folder=tmp_path)
    assert done.returncode == 1
    assert f"the port {port} on 127.0.0.1 is in use" in done.stderr
    assert "ORION_PORT or --port" in done.stderr
    assert "ready" not in done.stdout
    assert not (tmp_path / "data" / "auth.db").exists()


def test_every_problem_of_a_refused_start_has_its_own_line(tmp_path: Path) -> None:
    env = environment(tmp_path, ORION_BUS_URL="kafka://x", ORION_CACHE_URL="disk:", ORION_TRUSTED_PROXIES="nowhere")
    done = orion("run", env=env, folder=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in lines] == ["ORION_BUS_URL:", "ORION_CACHE_URL:", "ORION_TRUSTED_PROXIES:"]
    assert done.stdout == ""


def test_a_refusal_while_the_platform_opens_is_a_line_and_not_a_traceback(tmp_path: Path) -> None:
    env = environment(
        tmp_path,
        ORION_DATABASE_URL="postgresql://orion@127.0.0.1:1/orion",
        ORION_KEYRING=orion("keyring", "new", env=environment(tmp_path), folder=tmp_path).stdout,
    )
    (port,) = free_ports(1)
    done = orion("run", "--port", str(port), env=env, folder=tmp_path)
    assert done.returncode == 1
    assert "error: the database of" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ready" not in done.stdout


def test_a_plugin_that_cannot_be_loaded_is_named_and_does_not_take_the_host_down(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    env = environment(tmp_path, **install(tmp_path, "lame", "import nothing_of_this_name\n"))
    with running("run", "--port", str(port), env=env, folder=tmp_path) as host:
        host.wait_for("ready in")
        assert "lame: ModuleNotFoundError" in host.wait_for("broken")
        assert host.stop() == 0
    named = orion("run", "lame", env=env, folder=tmp_path)
    assert named.returncode == 1
    assert "error: the plugin lame cannot be loaded: ModuleNotFoundError" in named.stderr


def test_d29_a_stop_lets_running_requests_end(tmp_path: Path) -> None:
    slow = """
import asyncio
from litestar import Controller, get
from orion_core.plugin import Plugin, hookimpl
from orion_core.web import public

class Slow(Controller):
    path = "/api/v1/slow"

    @get("/", opt=public())
    async def slow(self) -> dict[str, str]:
        print("in hand", flush=True)
        await asyncio.sleep(1)
        return {"ended": "well"}

@hookimpl
def orion_plugin():
    return Plugin("slow", routes=[Slow])
"""
    (port,) = free_ports(1)
    env = environment(tmp_path, **install(tmp_path, "slow", slow))
    with running("run", "slow", "--port", str(port), env=env, folder=tmp_path) as host:
        host.wait_for("ready in")
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        with connection:
            connection.sendall(b"GET /api/v1/slow HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            host.wait_for("in hand")
            host.process.send_signal(signal.SIGTERM)
            answer = b""
            while part := connection.recv(4096):
                answer += part
        assert b'{"ended":"well"}' in answer
        assert host.process.wait(PATIENCE) == 0
