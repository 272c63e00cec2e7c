"""A whole platform with upstreams and WebSockets, served as `orion run` serves it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Controller, WebSocket, websocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from orion_core.context import current
from orion_core.contracts.auth import Auth, Register
from orion_core.plugin import Plugin
from orion_core.serve import server
from orion_core.testing.in_process import InProcess
from orion_core.testing.orion import Orion
from orion_core.web.access import signed_in
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.upstream_settings import FallbackSettings, UpstreamSettings

PASSWORD = "correct horse battery"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


AWAY = free_port()


def gateway(port: int, **given: Any) -> Mapping[str, Any]:
    """Settings with the upstream ``shop`` at `port`."""
    spec = UpstreamSettings(**{"prefix": "/shop", "urls": (f"http://127.0.0.1:{port}",), **given})
    return {"plugins": {"gateway": GatewaySettings(upstreams={"shop": spec}, connect_timeout=0.5)}}


@pytest.mark.reaches("local", "wire")
@pytest.mark.orion(services=["gateway", "auth"], settings=gateway(AWAY))
async def test_an_upstream_that_is_away_takes_nothing_else_with_it(orion: Orion) -> None:
    """G1, G50: problem documents, then an open breaker, readiness that warns, and another try when its time is over."""
    codes = []
    for _ in range(6):
        answer = await orion.http.post("/shop/cart")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        codes.append(answer.json()["code"])
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "127.0.0.1" not in answer.text
    assert codes == [*["gateway.upstream_unreachable"] * 5, "gateway.breaker_open"]
    await orion.sign_up()

    ready = await orion.http.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["gateway:upstream shop"][0]["status"]) == (200, "warn")

    await orion.advance(timedelta(seconds=10))
    assert (await orion.http.post("/shop/cart")).json()["code"] == "gateway.upstream_unreachable"


@pytest.mark.reaches("local", "wire")
@pytest.mark.orion(
    services=["gateway", "auth"], settings=gateway(AWAY, fallback=FallbackSettings(body='{"items": []}'))
)
async def test_a_declared_fallback_answers_for_it(orion: Orion) -> None:
    """G50."""
    answer = await orion.http.get("/shop/cart")

    assert (answer.status_code, answer.json()) == (200, {"items": []})
    assert answer.headers["x-orion-fallback"] == "static"


# -- WebSockets


class ChatRoutes(Controller):
    """A WebSocket route of a plugin."""

    path = "/api/v1/chat"

    @websocket("/", opt=signed_in())
    async def talk(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Say who it is, then say back what comes."""
        await socket.accept()
        await socket.send_text(current().actor.id)
        while True:
            await socket.send_text(await socket.receive_text())


@contextlib.asynccontextmanager
async def running(folder: Path, settings: Mapping[str, Any]) -> AsyncIterator[tuple[str, InProcess]]:
    """A platform behind the server of `orion run`, on a free port."""
    chat = Plugin("chat", routes=[ChatRoutes])
    async with InProcess(folder, ["gateway", "auth"], plugins=[chat], settings=settings) as orion:
        started = asyncio.Event()
        serving = server(orion.platform, started.set)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            task = asyncio.create_task(serving.serve(sockets=[listening]))
            try:
                async with asyncio.timeout(10):
                    await started.wait()
                yield f"127.0.0.1:{listening.getsockname()[1]}", orion
            finally:
                serving.should_exit = True
                await task


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def code(connection: ClientConnection) -> int | None:
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass
    return connection.close_code


async def test_websockets_of_a_plugin_and_of_an_upstream_through_the_server_of_orion_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G91: the same guards for both, a limit for what clients send, and nothing of a query in the log."""
    caplog.set_level(logging.INFO)
    async with serve(echo, "127.0.0.1", 0) as elsewhere:
        port = next(iter(elsewhere.sockets)).getsockname()[1]
        settings = {**gateway(port), "max_body": 1000}
        async with running(tmp_path, settings) as (at, orion):
            registered = await orion.service(Auth).register(Register("ada@example.org", PASSWORD, "Ada"))
            async with httpx.AsyncClient(base_url=f"http://{at}", trust_env=False) as http:
                login = {"email": "ada@example.org", "password": PASSWORD}
                token = (await http.post("/api/v1/auth/login", json=login)).json()["access_token"]

            headers = {"authorization": f"Bearer {token}"}
            async with connect(f"ws://{at}/api/v1/chat", additional_headers=headers) as client:
                assert await client.recv() == str(registered.id)
                await client.send("hello")
                assert await client.recv() == "hello"
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{at}/api/v1/chat")
            assert refused.value.response.status_code == 403

            async with connect(f"ws://{at}/shop/live?secret=hunter2") as client:
                await client.send("hello")
                assert await client.recv() == "hello"
                assert "sec-websocket-extensions" not in client.response.headers  # type: ignore[union-attr] # there is one
                await client.send("x" * 1001)
                assert await code(client) == 1009
            for path in ("/shop//live", "/shop/../shop/live", "/shop/%2e%2e/x", "/shop%2flive"):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"ws://{at}{path}")
                assert refused.value.response.status_code in (400, 403)

            async with connect(f"ws://{at}/shop/live") as client:
                await orion.platform.__aexit__(None, None, None)
                assert await code(client) in (1001, 1012)
    # uvicorn's own words are silenced where logging is set up.
    assert "hunter2" not in str([vars(each) for each in caplog.records if each.name.startswith("orion")])
