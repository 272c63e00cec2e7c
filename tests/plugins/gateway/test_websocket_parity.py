"""A plugin's own WebSocket route behaves the same served here and served by a peer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Controller, WebSocket, websocket
from test_dispatch import FakeHost, Here
from test_websockets import served
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from orion_core.context import Actor, current
from orion_core.errors import Unauthenticated
from orion_core.settings import Settings
from orion_core.web.access import public, signed_in
from orion_core.web.app import build
from orion_core.web.edge import edge
from orion_plugins.gateway.dispatch import dispatch
from orion_plugins.gateway.paths import path_guard
from orion_plugins.gateway.settings import GatewaySettings

ADA = "0198c9a0-0000-7000-8000-000000000001"
AT = "/api/v1/chat"


class ChatRoutes(Controller):
    """Routes that do what a WebSocket can do."""

    path = AT

    @websocket("/talk", opt=public())
    async def talk(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Say back what comes, until the word is end."""
        await socket.accept(subprotocols="v1" if "v1" in socket.scope["subprotocols"] else None)
        await socket.send_text(f"{current().actor.name} {current().correlation_id} {socket.scope['path']}")
        while (said := await socket.receive_text()) != "end":
            await socket.send_text(said)
        await socket.close(4001, "as you wish")

    @websocket("/mine", opt=signed_in())
    async def mine(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Say who it is."""
        await socket.accept()
        await socket.send_text(current().actor.id)
        await socket.close()

    @websocket("/no", opt=public())
    async def no(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Refuse before accepting."""
        await socket.close(1008, "not today")

    @websocket("/broken", opt=public())
    async def broken(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Fail after a word."""
        await socket.accept()
        await socket.send_text("so far")
        raise RuntimeError("the password is hunter2")


class Tokens:
    """An `Identity` that knows one token."""

    async def verify(self, token: str) -> Actor:
        if token != "ada":
            raise Unauthenticated("the access token does not count")
        return Actor("user", ADA)


def chat() -> Any:
    return build([ChatRoutes], {}, Tokens(), version="1.0", docs=False, max_body=1000)


@contextlib.asynccontextmanager
async def arranged(reach: str) -> AsyncIterator[str]:
    """A gateway whose plugin `chat` is served here, or by a peer."""
    prefixes = {AT: "chat"}
    if reach == "here":
        host = FakeHost(Settings(), served={"chat", "gateway"}, prefixes=prefixes)
        app = path_guard(dispatch(chat(), host, GatewaySettings()))
        async with served(edge(app, ())) as base:
            yield base
        return
    async with served(edge(chat(), ())) as peer:
        url = peer.replace("ws://", "http://")
        host = FakeHost(Settings(peers={"chat": (url,)}), served={"gateway"}, prefixes=prefixes)
        app = path_guard(dispatch(Here(), host, GatewaySettings()))
        async with served(edge(app, ())) as base:
            yield base
        for stop in host.stops:
            await stop()


async def said(url: str, *words: str, **options: Any) -> tuple[Any, ...]:
    """What happens to a client that connects to `url` and says `words`: all that it hears, and how it ends."""
    headers = {"x-request-id": "r-1", **options.pop("headers", {})}
    heard: list[Any] = []
    try:
        async with connect(url, additional_headers=headers, **options) as client:
            heard.append(client.subprotocol)
            with contextlib.suppress(ConnectionClosed):
                for word in words:
                    await client.send(word)
                async for message in client:
                    heard.append(message)  # noqa: PERF401 - those before an error count too
            return (*heard, client.close_code, client.close_reason)
    except InvalidStatus as refused:
        return refused.response.status_code, "location" in refused.response.headers


@pytest.mark.parametrize(
    ("path", "words", "options"),
    [
        (f"{AT}/talk", ("hello", "ä", "end"), {}),
        (f"{AT}/talk?x=%2F", ("end",), {"subprotocols": ["v0", "v1"]}),
        (f"{AT}/mine", (), {"headers": {"authorization": "Bearer ada"}}),
        (f"{AT}/mine", (), {}),
        (f"{AT}/mine", (), {"headers": {"authorization": "Bearer stolen"}}),
        (f"{AT}/no", (), {}),
        (f"{AT}/nowhere", (), {}),
        (f"{AT}//talk", (), {}),
        (f"{AT}/talk", ("x" * 2_000_000,), {}),
    ],
    ids=["talk", "subprotocol", "signed in", "anonymous", "bad token", "refused", "unknown", "bad path", "too long"],
)
async def test_a_route_is_the_same_here_and_behind_a_peer(
    path: str, words: tuple[str, ...], options: dict[str, Any]
) -> None:
    """G91: the same messages, close codes and reasons, and the same refusals."""
    ends = []
    for reach in ("here", "peer"):
        async with arranged(reach) as base:
            ends.append(await said(base + path, *words, **dict(options)))
    assert ends[0] == ends[1]
    assert ends[0]


async def test_what_a_route_says_is_really_heard() -> None:
    """The comparison above would also hold between two that say nothing."""
    async with arranged("peer") as base:
        hello = f"anonymous r-1 {AT}/talk"
        assert await said(f"{base}{AT}/talk", "hi", "end") == (None, hello, "hi", 4001, "as you wish")
        assert await said(f"{base}{AT}/mine", headers={"authorization": "Bearer ada"}) == (None, ADA, 1000, "")
        assert await said(f"{base}{AT}/mine") == (403, False)


async def test_a_defect_in_a_route_tells_nothing_of_it() -> None:
    """G1, G91."""
    ends = []
    for reach in ("here", "peer"):
        async with arranged(reach) as base:
            ends.append(await said(f"{base}{AT}/broken"))
    assert ends[0] == ends[1]
    assert ends[0][:3] == (None, "so far", 4500)
    assert "hunter2" not in str(ends)
