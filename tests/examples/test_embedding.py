"""The examples of embedding work as their files say."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from orion_core import Settings

EXAMPLES = Path(__file__).parents[2] / "examples" / "embed_in_your_app"


def load(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> ModuleType:
    # Each module makes its `app` on import, with the data folder below the working directory.
    monkeypatch.chdir(folder)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


class Lifespan:
    """Runs the lifespan of an ASGI application around a client for it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __aenter__(self) -> httpx.AsyncClient:
        self.inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.task = asyncio.create_task(self.app(scope, self.inbox.get, self.outbox.put))
        await self.inbox.put({"type": "lifespan.startup"})
        assert (await self.outbox.get())["type"] == "lifespan.startup.complete"
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://shop.test")
        return self.client

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.inbox.put({"type": "lifespan.shutdown"})
        assert (await self.outbox.get())["type"] == "lifespan.shutdown.complete"
        await self.task


async def register(client: httpx.AsyncClient, prefix: str) -> dict[str, str]:
    body = {"email": "ada@example.org", "password": "correct horse battery", "name": "Ada"}
    answer = await client.post(f"{prefix}/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["x-request-id"]
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


async def orders(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, str]:
    for _ in range(200):
        answer = await client.get("/orders", headers=headers)
        if answer.status_code == 200:
            found: dict[str, str] = answer.json()
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(answer.text)


async def test_a_litestar_application_gets_accounts_guards_and_services_in_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = load("litestar_app", monkeypatch, tmp_path)
    async with Lifespan(module.make(Settings(data_dir=tmp_path / "data"))) as client:
        headers = await register(client, "")
        assert (await orders(client, headers))["orders_of"] == "Ada"
        refused = await client.get("/orders")
        assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
        assert (await client.get("/takings", headers=headers)).status_code == 403
        assert (await client.get("/prices")).json() == {"tea": 3}


async def test_a_fastapi_application_mounts_orion_and_knows_who_asks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi", reason="the FastAPI example needs fastapi")
    module = load("fastapi_app", monkeypatch, tmp_path)
    async with Lifespan(module.make(Settings(data_dir=tmp_path / "data"))) as client:
        headers = await register(client, "/orion")
        assert (await orders(client, headers))["orders_of"] == "Ada"
        assert (await client.get("/orders")).status_code == 401
        assert (await client.get("/orion/health/live")).json() == {"status": "pass"}
        assert (await client.get("/prices")).json() == {"tea": 3}
