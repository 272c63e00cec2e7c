"""`hosts/app.py` under ASGI servers that know nothing of ORION, as real processes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orion_core.testing.ports import free_ports

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
SERVERS = {
    "uvicorn": ("uvicorn", "hosts.app:app", "--http", "h11", "--loop", "asyncio", "--port"),
    "hypercorn": ("hypercorn", "hosts.app:app", "--bind"),
}


@contextlib.contextmanager
def serving(server: str, port: int, folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The host under `server`, from start-up to whatever the block did to it; its output is in ``log`` in `folder`."""
    if importlib.util.find_spec(server) is None:
        pytest.skip(f"{server} is not installed")
    module, *arguments = SERVERS[server]
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("ORION_")}
    found = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, str(port) if server == "uvicorn" else f"127.0.0.1:{port}"],
            env={**inherited, "PYTHONPATH": found, "ORION_DATA_DIR": str(folder / "data"), **settings},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def ready(process: subprocess.Popen[str], url: str, folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health/ready", trust_env=False, timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError((folder / "log").read_text())


def wait_for_profile(url: str, headers: dict[str, str]) -> httpx.Response:
    until = time.monotonic() + PATIENCE
    while True:
        answer = httpx.get(f"{url}/api/v1/users/me", headers=headers, trust_env=False, timeout=30)
        if answer.status_code != 404 or time.monotonic() > until:
            return answer
        time.sleep(0.05)


@pytest.mark.parametrize("server", SERVERS)
def test_the_host_opens_answers_and_closes_with_its_server_and_keeps_everything(server: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with serving(server, port, tmp_path) as process:
        ready(process, url, tmp_path)
        person = {"email": "ada@example.org", "password": "correct horse battery", "name": "Ada"}
        registered = httpx.post(f"{url}/api/v1/auth/register", json=person, trust_env=False, timeout=30)
        assert registered.status_code == 201
        headers = {"authorization": f"Bearer {registered.json()['access_token']}"}
        assert wait_for_profile(url, headers).json()["name"] == "Ada"
        unknown = httpx.get(f"{url}/nowhere", trust_env=False, timeout=30)
        assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
        assert unknown.headers["x-request-id"] == unknown.json()["request_id"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()

    # Write-ahead logs are folded back and removed when the last connection to a database is closed in order.
    assert list((tmp_path / "data").glob("*.db-wal")) == []
    assert "Traceback" not in (tmp_path / "log").read_text()

    with serving(server, port, tmp_path) as process:
        ready(process, url, tmp_path)
        assert wait_for_profile(url, headers).json()["email"] == "ada@example.org"
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert list((tmp_path / "data").glob("*.db-wal")) == []


@pytest.mark.parametrize("server", SERVERS)
def test_a_host_that_cannot_start_says_why_and_its_server_ends(server: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with serving(server, port, tmp_path, ORION_DATABSE_URL="sqlite:///x.db") as process:
        code = process.wait(PATIENCE)

    # Hypercorn itself ends with 0 whatever became of its worker.
    assert code != 0 or server == "hypercorn"
    assert "ORION_DATABSE_URL is no setting; did you mean ORION_DATABASE_URL?" in (tmp_path / "log").read_text()


def test_a_database_that_cannot_be_opened_fails_the_start_and_not_the_first_request(tmp_path: Path) -> None:
    """The lifespan reports it, so the server never listens."""
    (port,) = free_ports(1)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "auth.db").write_bytes(b"no database" * 1000)
    with serving("uvicorn", port, tmp_path) as process:
        assert process.wait(PATIENCE) != 0

    assert "auth.db cannot be opened" in (tmp_path / "log").read_text()
