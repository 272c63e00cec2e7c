"""How soon is an access token refused by other services after its session was ended (A35)?

Starts auth and users as processes of their own on PostgreSQL, Redis and RabbitMQ. Again and again somebody signs in,
reads their profile, so that users knows the session, and ends it at auth; then users is asked until it refuses. Prints
how long that took after auth had answered.

    python benchmarks/revocation.py [sessions]            # 50 by default: about half a minute
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import httpx

from orion_core.testing.processes import Processes

PASSWORD = "correct horse battery staple"
PATIENCE = 90.0
PAUSE = 0.002


def measure(client: httpx.Client, auth: str, users: str, sessions: int) -> list[float]:
    """Seconds from the end of each session to its refusal, in order of size."""
    credentials = {"email": "ada@example.org", "password": PASSWORD}
    client.post(f"{auth}/api/v1/auth/register", json=credentials).raise_for_status()
    found = []
    for _ in range(sessions):
        tokens = client.post(f"{auth}/api/v1/auth/login", json=credentials).raise_for_status().json()
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        wait_for(client, f"{users}/api/v1/users/me", headers, 200)
        client.delete(f"{auth}/api/v1/auth/sessions", headers=headers).raise_for_status()
        found.append(wait_for(client, f"{users}/api/v1/users/me", headers, 401))
    return sorted(found)


def wait_for(client: httpx.Client, url: str, headers: dict[str, str], status: int) -> float:
    """Seconds until `url` answers with `status`."""
    began = time.perf_counter()
    while client.get(url, headers=headers).status_code != status:
        if time.perf_counter() - began > PATIENCE:
            raise TimeoutError(f"{url} did not answer {status} within {PATIENCE:g} s")
        time.sleep(PAUSE)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with (
        tempfile.TemporaryDirectory() as folder,
        Processes(Path(folder), ["auth", "users"]) as processes,
        httpx.Client(trust_env=False, timeout=10) as client,
    ):
        took = measure(client, processes.url("auth"), processes.url("users"), sessions)
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    print(f"{sessions} sessions ended at auth, refused by users after")
    print(
        f"  p50 {p50 * 1000:6.0f} ms   p99 {p99 * 1000:6.0f} ms   max {took[-1] * 1000:6.0f} ms   (wanted: below 1 s)"
    )


if __name__ == "__main__":
    main()
