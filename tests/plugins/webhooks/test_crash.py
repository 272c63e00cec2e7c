"""`kill -9` between the receiver's 200 and the commit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from orion_core.testing.ports import free_ports
from orion_core.testing.receiver import Receiver

PATIENCE = 60.0
SERVICES = ("auth", "users", "webhooks")


def environment(folder: Path, port: int) -> dict[str, str]:
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("ORION_")}
    return {
        **inherited,
        "ORION_DATA_DIR": str(folder / "data"),
        "ORION_PORT": str(port),
        "ORION_LOG_FORMAT": "json",
        "ORION_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
    }


def launch(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "host.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "orion_core.cli", "run", *SERVICES],
            env=environment(folder, port),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def make_admin(folder: Path, port: int, password: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "orion_core.cli", "users", "create-admin", "--email", "a@x.org", "--password", password],
        env=environment(folder, port),
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )


async def asked(client: httpx.AsyncClient, method: str, path: str, **given: Any) -> Any:
    """The answer, once the host is there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                answer = await client.request(method, path, **given)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            # A registration that was cut off may have happened: it is asked for again and is taken then.
            assert answer.status_code < 300 or answer.status_code == 409, answer.text
            return answer.json()


async def test_a_process_killed_after_the_receivers_200_sends_again_with_the_same_id(tmp_path: Path) -> None:
    """W8: once more, never not at all."""
    [port] = free_ports(1)
    password = "correct horse battery"
    await asyncio.to_thread(make_admin, tmp_path, port, password)
    process = launch(tmp_path, port)
    try:
        async with (
            Receiver() as receiver,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client,
        ):

            async def say_200_and_kill(writer: asyncio.StreamWriter) -> None:
                # The last byte of the body never comes, so that the sender cannot have gone on.
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nO")
                await writer.drain()
                process.kill()

            receiver.then_do(say_200_and_kill)
            tokens = await asked(client, "POST", "/api/v1/auth/login", json={"email": "a@x.org", "password": password})
            client.headers["authorization"] = f"Bearer {tokens['access_token']}"
            body = {"url": receiver.url, "event_types": ["user.registered"]}
            made = await asked(client, "POST", "/api/v1/webhooks/endpoints", json=body)
            await asked(client, "POST", "/api/v1/auth/register", json={"email": "ada@x.org", "password": password})
            await receiver.until(1, PATIENCE)
            await asyncio.to_thread(process.wait, PATIENCE)
            process = launch(tmp_path, port)
            await receiver.until(2, PATIENCE)

            async with asyncio.timeout(PATIENCE):
                while True:
                    page = await asked(client, "GET", "/api/v1/webhooks/deliveries?status=succeeded")
                    if page["items"]:
                        break
                    await asyncio.sleep(0.05)
            [delivery] = page["items"]
            attempts = await asked(client, "GET", f"/api/v1/webhooks/deliveries/{delivery['id']}/attempts")

            assert [each.verify(made["secret"]) for each in receiver.requests] == [delivery["message_id"]] * 2
            assert len({each.body for each in receiver.requests}) == 1
            assert [each["outcome"] for each in attempts["items"]] == ["succeeded", "started"]
    finally:
        process.kill()
        process.wait(PATIENCE)
