"""Who may use a route."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Controller, WebSocket, asgi, delete, get, post, websocket
from small_app import ADA, ShopRoutes, bearer, browser, shop

from orion_core.context import current
from orion_core.errors import StartRefused
from orion_core.web import api_keys, needs, public, signed_in

SHOP = "/api/v1/shop"


class Silent(Controller):
    """Routes that do not say who may use them."""

    @get("/schematics")
    async def plans(self) -> None: ...

    @websocket("/talk")
    async def talk(self, socket: WebSocket[Any, Any, Any]) -> None: ...

    @get("/fine", opt=public())
    async def fine(self) -> None: ...


@asgi("/raw", copy_scope=True)
async def raw(scope: Any, receive: Any, send: Any) -> None: ...


class Talk(Controller):
    """A WebSocket for people."""

    @websocket("/talk", opt=signed_in())
    async def talk(self, socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(current().actor.name)
        await socket.close()


class CredentialRoutes(Controller):
    """Where people look after their credentials, and one route that opens itself to keys."""

    path = "/api/v1/auth"

    @get("/sessions", opt=signed_in())
    async def sessions(self) -> None: ...

    @get("/admin/roles", opt=needs("orders:read"))
    async def roles(self) -> None: ...

    @get("/whoami", opt=public())
    async def whoami(self) -> dict[str, str]:
        return {"actor": current().actor.name}

    @get("/me", opt=signed_in() | api_keys(True))
    async def me(self) -> None: ...


class Leaving(Controller):
    """A route that takes no key though its path does not say so."""

    @delete("/api/v1/shop/me", opt=signed_in() | api_keys(False))
    async def leave(self) -> None: ...

    @post("/api/v1/shop/me", opt=signed_in())
    async def change(self) -> None: ...


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("GET", "/shop/mine", "key-", 403),
        ("GET", "/shop/mine", "key-~orders-read", 403),
        ("GET", "/shop/mine", "key-~own-write", 403),
        ("GET", "/shop/mine", "key-~own-read", 200),
        ("GET", "/shop/mine", "key-~all", 200),
        ("POST", "/shop/me", "key-~own-read", 403),
        ("POST", "/shop/me", "key-~own-write", 201),
        ("GET", "/shop/all", "key-~own-read~own-write", 403),
        ("GET", "/shop/all", "key-~orders-read", 200),
        ("DELETE", "/shop/me", "key-~all", 403),
        ("GET", "/auth/sessions", "key-~all", 403),
        ("GET", "/auth/admin/roles", "key-~orders-read", 403),
        ("GET", "/auth/me", "key-", 403),
        ("GET", "/auth/me", "key-~own-read", 200),
        ("DELETE", "/shop/me", "ada", 204),
        ("GET", "/auth/sessions", "ada", 200),
    ],
)
async def test_an_api_key_goes_as_far_as_its_scopes_and_never_to_credentials(
    method: str, path: str, token: str, status: int
) -> None:
    """A53: denied unless a scope opens it."""
    async with browser(shop((ShopRoutes, CredentialRoutes, Leaving))) as client:
        answer = await client.request(method, f"/api/v1{path}", headers=bearer(token))

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("path", "token", "actor"),
    [
        ("/shop/whoami", "key-", "anonymous"),
        ("/shop/whoami", "key-~own-write", "anonymous"),
        ("/shop/whoami", "key-~own-read", f"user:{ADA}"),
        ("/auth/whoami", "key-~all", "anonymous"),
        ("/auth/whoami", "ada", f"user:{ADA}"),
    ],
)
async def test_a_public_route_knows_an_api_key_only_where_it_may_go(path: str, token: str, actor: str) -> None:
    """A53."""
    async with browser(shop((ShopRoutes, CredentialRoutes))) as client:
        answer = await client.get(f"/api/v1{path}", headers=bearer(token))

    assert answer.json()["actor"] == actor


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/whoami", "", 200, ""),
        ("/whoami", "nonsense", 200, ""),
        ("/mine", "", 401, "unauthenticated"),
        ("/mine", "nonsense", 401, "unauthenticated"),
        ("/mine", "ada", 200, ""),
        ("/mine", "away", 503, "unavailable"),
        ("/all", "", 401, "unauthenticated"),
        ("/all", "ada", 403, "forbidden"),
        ("/all", "admin", 200, ""),
    ],
)
async def test_a_route_is_for_whom_it_says(path: str, token: str, status: int, code: str) -> None:
    async with browser(shop()) as client:
        answer = await client.get(SHOP + path, headers=bearer(token) if token else {})

    assert answer.status_code == status, answer.text
    assert answer.json().get("code", "") == code
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(("token", "actor"), [("", "anonymous"), ("nonsense", "anonymous"), ("ada", f"user:{ADA}")])
async def test_a_public_route_runs_as_whoever_the_token_proves(token: str, actor: str) -> None:
    async with browser(shop()) as client:
        answer = await client.get(f"{SHOP}/whoami", headers=bearer(token) if token else {})

    assert answer.json()["actor"] == actor


async def test_two_authorization_headers_sign_nobody_in() -> None:
    headers = [("authorization", "Bearer ada"), ("authorization", "Bearer admin")]
    async with browser(shop()) as client:
        answer = await client.get(f"{SHOP}/mine", headers=headers)

    assert answer.status_code == 401


def test_routes_that_do_not_say_who_may_use_them_refuse_the_start() -> None:
    """WebSockets and ASGI applications too; a path that only begins like the API pages' is no exception."""
    with pytest.raises(StartRefused) as refused:
        shop([ShopRoutes, Silent, raw])  # type: ignore[list-item]

    assert sorted(problem.partition(" declares")[0] for problem in refused.value.problems) == [
        "ASGIRouteHandler /raw",
        "GET /schematics",
        "WebsocketRouteHandler /talk",
    ]


@pytest.mark.parametrize(("token", "expected"), [("", "websocket.close"), ("ada", "websocket.accept")])
async def test_a_websocket_is_guarded_like_a_request(token: str, expected: str) -> None:
    sent: list[Any] = []
    incoming = iter([{"type": "websocket.connect"}])

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"shop.test"), *((k.encode(), v.encode()) for k, v in bearer(token).items() if token)]
    scope = {
        "type": "websocket",
        "path": "/talk",
        "raw_path": b"/talk",
        "headers": headers,
        "query_string": b"",
        "subprotocols": [],
        "client": None,
        "server": None,
        "scheme": "ws",
        "root_path": "",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "extensions": {},
    }
    await shop([Talk])(scope, receive, send)

    assert sent[0]["type"] == expected
    assert [message.get("text") for message in sent[1:2]] == ([f"user:{ADA}"] if token else [])
