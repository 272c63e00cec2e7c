"""The path guard and the dispatcher: what is refused, what is answered here, and what goes to which peer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from test_proxy import Client
from upstream import Upstream, serve_well

from orion_core.context import Context, use
from orion_core.errors import Malformed, StartRefused
from orion_core.ports.check import Check
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_plugins.gateway.dispatch import dispatch
from orion_plugins.gateway.paths import ambiguous, path_guard
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.upstream_settings import FallbackSettings, UpstreamSettings

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
    "/api/v1/auth/..;/users/me",
    "/api/v1/auth/.;x=1/users/me",
    "/api/v1/auth/%2e%2e;/users/me",
    "/api/v1/auth/%c0%ae%c0%ae/users/me",
    "/api/v1%c0%afusers/me",
    "/api/v1/auth/%e0%80%ae%e0%80%ae/users/me",
    "/api/v1/users/me%",
    "/api/v1/users/me%2",
    "/api/v1/users/%zzme",
    "/api/v1/users/%u002e%u002e/me",
    "/api/v1/users/me%0d%0ax:y",
    "/api/v1/users/me%1b[31m",
    "/api/v1/users/me%7f",
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
    clock: MovableClock = attrs.field(factory=MovableClock)
    stops: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list)
    watched: dict[str, Callable[[], Awaitable[Check]]] = attrs.field(factory=dict)

    def watch(self, name: str, probe: Callable[[], Awaitable[Check]]) -> None:
        self.watched[name] = probe

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
        "/%EF%BF%BD",
        "/a;b/.c;d",
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


def shop(**given: Any) -> UpstreamSettings:
    return UpstreamSettings(**{"prefix": "/shop", "urls": ("http://127.0.0.1:9",), **given})


async def test_a_configured_upstream_answers_under_its_prefix_and_takes_nothing_else() -> None:
    """G14."""
    async with Upstream(serve_well) as elsewhere:
        settings = GatewaySettings(
            upstreams={
                "shop": shop(urls=(elsewhere.url,)),
                "api": shop(prefix="/api", urls=(elsewhere.url,)),
            }
        )
        here, host = Here(), FakeHost(Settings())
        app = dispatch(here, host, settings)
        for path in ("/shop", "/shop/a", "/api/v2", "/api/v1/auth/me", "/api/v1/users/me", "/shopping", "/"):
            client = Client(path=path)
            with use(Context(correlation_id="r-1")):
                await app(client.scope, client.receive, client.send)
        for stop in host.stops:
            await stop()

    assert [request.target for request in elsewhere.requests] == ["/shop", "/shop/a", "/api/v2"]
    assert here.asked == ["/api/v1/auth/me", "/api/v1/users/me", "/shopping", "/"]


@pytest.mark.parametrize(
    ("name", "prefix", "problem"),
    [
        ("shop", "/api/v1/users", "gateway.upstreams.shop.prefix: /api/v1/users belongs to users"),
        ("shop", "/api/v1/users/x", "gateway.upstreams.shop.prefix: /api/v1/users/x belongs to users"),
        ("shop", "/.well-known/jwks.json", "belongs to auth"),
        ("shop", "/health", "belongs to every host itself"),
        ("shop", "/_call/auth", "belongs to every host itself"),
        ("shop", "/schema", "belongs to every host itself"),
        ("users", "/shop", "gateway.upstreams.users: there is a service of that name"),
        ("billing", "/shop", "gateway.upstreams.billing: there is a service of that name"),
    ],
)
def test_an_upstream_that_would_take_from_a_service_refuses_the_start(name: str, prefix: str, problem: str) -> None:
    host = FakeHost(Settings(peers={"billing": ("http://127.0.0.1:9",)}))
    with pytest.raises(StartRefused) as refused:
        dispatch(Here(), host, GatewaySettings(upstreams={name: shop(prefix=prefix)}))
    [said] = refused.value.problems
    assert problem in said


def test_a_peer_whose_url_cannot_be_is_refused_by_the_setting() -> None:
    host = FakeHost(Settings(peers={"billing": ("http://billing:99999",)}))
    with pytest.raises(StartRefused, match="ORION_PEERS: upstream 'http://billing:99999'"):
        dispatch(Here(), host, GatewaySettings())


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"prefix": "shop"}, "prefix must be a path"),
        ({"prefix": "/"}, "prefix must be a path"),
        ({"prefix": "/shop/"}, "prefix must be a path"),
        ({"prefix": "/shop//a"}, "prefix must be a path"),
        ({"urls": ()}, "urls must give at least one URL"),
        ({"urls": ("ftp://shop",)}, "give it as http://host:port"),
        ({"urls": ("http://shop:99999",)}, "give it as http://host:port"),
        ({"urls": ("http://shop/?a",)}, "give it as http://host:port"),
        ({"urls": ("http://shop/a b",)}, "give it as http://host:port"),
        ({"urls": ("http://sh\r\nop",)}, "give it as http://host:port"),
        ({"urls": ("http://u:hunter2@shop",)}, "with a user"),
        ({"balance": "random"}, "balance must be one of round_robin, least_busy"),
        ({"forward": ("host",)}, "forward must be one of authorization, cookie"),
        ({"health": "up"}, "health must be a path"),
        ({"timeout": 0.0}, "timeout must be more than 0"),
        ({"drop_headers": ("a b",)}, "drop_headers: 'a b' is no name"),
        ({"add_headers": {"x-a": "1\r\nx-b: 2"}}, "the value of x-a must be printable"),
        ({"add_headers": {"X-Forwarded-For": "1"}}, "X-Forwarded-For is set by the gateway"),
        ({"add_headers": {"transfer-encoding": "x"}}, "set by the gateway"),
    ],
)
def test_an_upstream_that_could_not_work_is_refused_by_the_field(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        shop(**given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("upstreams", "problem"),
    [
        ({"a": shop(fallback=FallbackSettings(upstream="b"))}, "a: fallback.upstream names 'b'.*there are none"),
        ({"a": shop(fallback=FallbackSettings(upstream="a"))}, "a: fallback.upstream names 'a'"),
        ({"a": shop(), "b": shop()}, "b: the prefix /shop is that of a too"),
        ({"A b": shop()}, "'A b' is no name"),
    ],
)
def test_upstreams_that_do_not_fit_together_are_refused(upstreams: dict[str, UpstreamSettings], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        GatewaySettings(upstreams=upstreams)


@pytest.mark.parametrize("status", [100, 204, 304, 600])
def test_a_fallback_has_a_status_of_an_answer_with_a_body(status: int) -> None:
    with pytest.raises(ValueError, match="status must be"):
        FallbackSettings(status=status)


async def test_readiness_learns_of_a_breaker_by_the_name_of_its_upstream() -> None:
    """G50: and the clock of the host is the one that counts."""
    host = FakeHost(Settings())
    app = dispatch(Here(), host, GatewaySettings(upstreams={"shop": shop()}, connect_timeout=0.2))
    assert {name: (await probe()).status for name, probe in host.watched.items()} == {"upstream shop": "pass"}
    clients = []
    for _ in range(6):
        clients.append(Client("POST", "/shop"))
        with use(Context(correlation_id="r-1")):
            await app(clients[-1].scope, clients[-1].receive, clients[-1].send)
    found = await host.watched["upstream shop"]()
    assert (found.status, found.detail) == ("warn", "the breaker is open")
    assert [client.problem["code"] for client in clients[4:]] == [
        "gateway.upstream_unreachable",
        "gateway.breaker_open",
    ]

    host.clock.advance(timedelta(seconds=10))
    client = Client("POST", "/shop")
    with use(Context(correlation_id="r-1")):
        await app(client.scope, client.receive, client.send)
    assert client.problem["code"] == "gateway.upstream_unreachable"  # it was asked again
    for stop in host.stops:
        await stop()
