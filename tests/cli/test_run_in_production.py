"""`orion run` under a public address: what is refused, what is told, and what works out of the box."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from terminal import environment, orion, running

from orion_core.testing.ports import free_ports

AUTH = "/api/v1/auth"
GUESS = {"email": "ada@example.org", "password": "wrong horse battery"}


def test_g90_in_production_only_what_came_by_https_is_answered(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    env = environment(
        tmp_path,
        ORION_PORT=str(port),
        ORION_PUBLIC_URL="https://shop.example",
        ORION_TRUSTED_PROXIES="127.0.0.1/32",
        ORION_GATEWAY_CORS_ORIGINS="https://app.example",
    )
    with (
        running("run", "auth", "gateway", env=env, folder=tmp_path) as host,
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        host.wait_for("ready in")
        plain = client.post(f"{AUTH}/login", json=GUESS)
        by_tls = client.post(f"{AUTH}/login", json=GUESS, headers={"x-forwarded-proto": "https"})
        health = client.get("/health/live")
        assert host.stop() == 0

    assert (plain.status_code, plain.json()["code"]) == (403, "gateway.https_required")
    assert "location" not in plain.headers
    assert by_tls.status_code == 401
    assert by_tls.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert health.status_code == 200


def test_g90_what_is_for_trying_out_refuses_to_run_in_production(tmp_path: Path) -> None:
    env = environment(
        tmp_path,
        ORION_PUBLIC_URL="https://shop.example",
        ORION_BUS_URL="amqp://guest:guest@127.0.0.1/%2F",
        ORION_LOG_LEVEL="debug",
        ORION_GATEWAY_CORS_ORIGINS="*",
    )
    done = orion("run", env=env, folder=tmp_path)

    assert done.returncode == 1
    wanted = ["ORION_LOG_LEVEL=debug", "ORION_BUS_URL", "ORION_GATEWAY_CORS_ORIGINS"]
    assert re.findall(r"^error: (\S+)", done.stderr, re.MULTILINE) == wanted
    assert "guest:guest" not in done.stderr


def test_g30_any_origin_with_credentials_refuses_to_run_anywhere(tmp_path: Path) -> None:
    env = environment(tmp_path, ORION_GATEWAY_CORS_ORIGINS="*", ORION_GATEWAY_CORS_CREDENTIALS="true")
    done = orion("run", env=env, folder=tmp_path)

    assert done.returncode == 1
    assert "cors_credentials cannot go with cors_origins=*" in done.stderr


def test_g20_logins_are_limited_without_any_setting(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with (
        running("run", "auth", "gateway", "--port", str(port), env=environment(tmp_path), folder=tmp_path) as host,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client,
    ):
        host.wait_for("ready in")
        answer = client.post(f"{AUTH}/login", json={"email": "nobody"})
        asked = 1
        # One comes back every two seconds, so a slow machine may get a few more than 30.
        while answer.status_code == 422 and asked < 500:
            answer = client.post(f"{AUTH}/login", json={"email": "nobody"})
            asked += 1
        assert host.stop() == 0

    assert (answer.status_code, asked > 30) == (429, True)
    assert answer.headers["ratelimit-policy"] == '"login";q=30;w=60'
