"""The path guard and the dispatcher: what is refused, what is answered here, and what goes to which peer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from test_proxy import Client
from upstream import Upstream, serve_well

from orion_core.context import Context, use
from orion_core.errors import Malformed
from orion_core.settings import Settings
from orion_plugins.gateway.dispatch import dispatch
from orion_plugins.gateway.paths import ambiguous, path_guard
from orion_plugins.gateway.settings import GatewaySettings

SPELLINGS = [
    "//api/v1/users/me",
    "/api//v1/users/me",
    "/api/v1/users//me",
    "/api/v1/users/me//",
    "///",
    "/./api/v1/users/me",
    "/api/./v1/users/me",
    "/api/v1/users/me/.",
    "/api/v1/auth/../users/me",
    "/api/v1/auth/../../v1/users/me",
    "/../api/v1/users/me",
    "/api/v1/users/me/..",
    "/api/v1/auth/%2e%2e/users/me",
    "/api/v1/auth/%2E%2E/users/me",
    "/api/v1/auth/.%2e/users/me",
    "/api/v1/auth/%2e./users/me",
    "/api/v1/%2e/users/me",
    "/%2e%2e/api/v1/users/me",
    "/api/v1/auth/..%2fusers/me",
    "/api/v1/auth/..%2Fusers/me",
    "/api/v1%2fusers/me",
    "/api/v1/users%2Fme",
    "/api%2Fv1%2Fusers%2Fme",
    "/%2fapi/v1/users/me",
    "/api/v1/users/me%2f",
    "/api/v1/auth/..%5cusers/me",
    "/api/v1%5Cusers/me",
    "/api/v1/users%5cme",
    "/%5capi/v1/users/me",
    "/api/v1/users\\me",
    "\\api\\v1\\users\\me",
    "/api/v1/auth/..\\users/me",
    "/api/v1/users/me%00",
    "/api/v1/users/me%00.css",
    "/%00/api/v1/users/me",
    "/api/v1/%00users/me",
    "/api/v1/users/me/%2e",
    "/api/v1/users/%2e%2e/%2e%2e/v1/users/me",
    "/.//api/v1/users/me",
    "/api/v1/users/..//users/me",
]


class Here:
    """The application of this process: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 299, "headers": []})
            await send({"type": "http.response.body", "body": b"here"})


@attrs.define
class FakeHost:
    """What the dispatcher gets to know of its host."""

    settings: Settings
    served: set[str] = attrs.field(factory=lambda: {"auth", "gateway"})
    prefixes: dict[str, str] = attrs.field(
        factory=lambda: {
            "/api/v1/auth": "auth",
            "/.well-known/jwks.json": "auth",
            "/api/v1/users": "users",
            "/api/v1/users/admin": "admin",
            "/api/v1/search": "search",
        }
    )
    stops: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list)

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        self.stops.append(callback)


@contextlib.asynccontextmanager
async def dispatching(**peers: str) -> AsyncIterator[tuple[Callable[[str], Awaitable[Client]], Here]]:
    here, host = Here(), FakeHost(Settings(peers={name: (url,) for name, url in peers.items()}))
    app = dispatch(here, host, GatewaySettings())

    async def ask(path: str) -> Client:
        client = Client(path=path)
        with use(Context(correlation_id="r-1")):
            await app(client.scope, client.receive, client.send)
        return client

    try:
        yield ask, here
    finally:
        for stop in host.stops:
            await stop()


def scope_of(spelling: str, kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "path": unquote(spelling), "raw_path": spelling.encode(), "method": "GET"}


def test_there_are_forty_spellings() -> None:
    assert len(set(SPELLINGS)) >= 40


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_second_spelling_of_a_path_passes(spelling: str) -> None:
    """G4: before routing and authorisation."""
    here = Here()
    with pytest.raises(Malformed):
        await path_guard(here)(scope_of(spelling), None, None)

    assert here.asked == []


@pytest.mark.parametrize(
    "spelling",
    [
        "/",
        "/api/v1/users/me",
        "/api/v1/users/me/",
        "/a.b/..c/d..",
        "/%C3%A4",
        "/a%20b",
        "/%252e%252e/x",
        "/...",
        "/%41",
    ],
)
async def test_plain_paths_pass(spelling: str) -> None:
    """G4: decoded once, ``%252e`` is the text ``%2e`` and no dot."""
    here = Here()
    client = Client()
    await path_guard(here)(scope_of(spelling), client.receive, client.send)

    assert here.asked == [unquote(spelling)]


def test_a_server_that_gives_no_raw_path_is_guarded_by_the_decoded_one() -> None:
    """G4: `raw_path` is optional in ASGI."""
    assert ambiguous("/a/../b", b"")
    assert not ambiguous("/a/b", b"")


async def test_a_websocket_with_an_ambiguous_path_is_closed_before_it_is_accepted() -> None:
    """G4."""
    here, client = Here(), Client()
    await path_guard(here)(scope_of("/api//v1", "websocket"), client.receive, client.send)

    assert (here.asked, [message["type"] for message in client.sent]) == ([], ["websocket.close"])


async def test_each_path_goes_to_the_service_whose_prefix_covers_it() -> None:
    """G14: the longest prefix of whole segments decides, and nothing of the request but its path."""
    async with (
        Upstream(serve_well) as users,
        Upstream(serve_well) as admin,
        dispatching(users=users.url, admin=admin.url) as (ask, here),
    ):
        for path in ("/api/v1/users", "/api/v1/users/", "/api/v1/users/me", "/api/v1/users/administrator"):
            assert (await ask(path)).status == 200
        for path in ("/api/v1/users/admin", "/api/v1/users/admin/x"):
            assert (await ask(path)).status == 200
        for path in ("/", "/api/v1/auth/me", "/api/v1/usersx", "/api/v1/search", "/schema", "/api/v1/nobody"):
            assert (await ask(path)).status == 299

    assert [request.target for request in users.requests] == [
        "/api/v1/users",
        "/api/v1/users/",
        "/api/v1/users/me",
        "/api/v1/users/administrator",
    ]
    assert [request.target for request in admin.requests] == ["/api/v1/users/admin", "/api/v1/users/admin/x"]
    assert len(here.asked) == 6


async def test_what_is_served_here_is_answered_here_even_if_a_peer_has_it_too() -> None:
    async with (
        Upstream(serve_well) as elsewhere,
        dispatching(auth=elsewhere.url, users=elsewhere.url) as (ask, here),
    ):
        assert (await ask("/api/v1/auth/me")).status == 299
        assert (await ask("/.well-known/jwks.json")).status == 299

    assert here.asked == ["/api/v1/auth/me", "/.well-known/jwks.json"]
    assert elsewhere.requests == []


async def test_without_peers_there_is_no_layer() -> None:
    here = Here()

    assert dispatch(here, FakeHost(Settings()), GatewaySettings()) is here


async def test_the_access_log_learns_which_service_answered() -> None:
    """G61."""
    async with Upstream(serve_well) as users:
        host = FakeHost(Settings(peers={"users": (users.url,)}))
        app, client = dispatch(Here(), host, GatewaySettings()), Client(path="/api/v1/users/me")
        scope = client.scope
        with use(Context(correlation_id="r-1")):
            await app(scope, client.receive, client.send)
        for stop in host.stops:
            await stop()

    assert scope["orion_upstream"] == "users"
