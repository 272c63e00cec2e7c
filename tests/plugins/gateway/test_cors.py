"""CORS and the cross-site guard: which pages may read, and which may send with cookies."""

from __future__ import annotations

from typing import Any

import pytest
from test_proxy import Client

from orion_core.context import Context, use
from orion_core.errors import StartRefused, Unavailable
from orion_plugins.gateway.cors import cors
from orion_plugins.gateway.origin import cross_site_guard
from orion_plugins.gateway.settings import GatewaySettings

APP = "https://app.example"
ORIGINS = (APP, "https://admin.example:8443", "http://localhost:5173")


class Behind:
    """What stands behind the layers; it says things about CORS that are not its business."""

    def __init__(self, error: Exception | None = None, late: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.error, self.late = error, late

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope.get("method", scope["type"]))
        if self.error:
            raise self.error
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        headers = [
            (b"access-control-allow-origin", b"*"),
            (b"Access-Control-Allow-Credentials", b"true"),
            (b"vary", b"Accept-Encoding"),
            (b"x-own", b"kept"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if self.late:
            raise self.late
        await send({"type": "http.response.body", "body": b"here"})


async def ask(app: Any, method: str = "GET", kind: str = "http", **headers: str) -> Client:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    client = Client(method=method, path="/api/v1/users/me", headers=fields)
    with use(Context(correlation_id="r-1")):
        await app({**client.scope, "type": kind}, client.receive, client.send)
    return client


def every(client: Client, name: bytes) -> list[bytes]:
    return [value for key, value in client.sent[0]["headers"] if key.lower() == name]


def with_cors(behind: Behind | None = None, **settings: Any) -> Any:
    return cors(behind or Behind(), GatewaySettings(**{"cors_origins": ORIGINS, **settings}))


@pytest.mark.parametrize("origin", ORIGINS)
async def test_a_page_of_an_allowed_origin_may_read(origin: str) -> None:
    """G30."""
    client = await ask(with_cors(), origin=origin)

    assert every(client, b"access-control-allow-origin") == [origin.encode()]
    assert every(client, b"access-control-allow-credentials") == []
    assert b"RateLimit" in client.answer[b"access-control-expose-headers"]
    assert every(client, b"vary") == [b"Accept-Encoding", b"Origin"]
    assert (client.answer[b"x-own"], client.body) == (b"kept", b"here")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://app.example.",
        "https://app.example:443",
        "https://app.example/",
        "http://app.example",
        "https://App.example",
        "https://evil-app.example",
        "https://app.example.evil.org",
        "https://appXexample",
        "https://app.example@evil.org",
        "https://app.example\x00.evil.org",
        "https://evil.org\nhttps://app.example",
        "https://admin.example",
        "https://admin.example:84430",
        "http://localhost",
        "file://",
        "*",
    ],
)
async def test_no_other_origin_may_read(origin: str) -> None:
    """G30: exact on scheme, host and port; `null` never (CVE-2026-37737, starlette#801)."""
    for settings in ({}, {"cors_credentials": True}):
        client = await ask(with_cors(**settings), origin=origin)

        assert [name for name, _ in client.sent[0]["headers"] if name.lower().startswith(b"access-control")] == []
        assert b"Origin" in every(client, b"vary")
        assert client.body == b"here"


async def test_without_an_origin_the_answer_varies_all_the_same() -> None:
    """G30 (gorilla/handlers#248): else a cache gives a page the answer of another."""
    client = await ask(with_cors())

    assert every(client, b"access-control-allow-origin") == []
    assert b"Origin" in every(client, b"vary")


async def test_of_two_origins_none_counts() -> None:
    for settings in ({}, {"cors_origins": ("*",)}):
        client = Client(headers=[(b"origin", APP.encode()), (b"origin", APP.encode())])
        with use(Context(correlation_id="r-1")):
            await with_cors(**settings)(client.scope, client.receive, client.send)

        assert every(client, b"access-control-allow-origin") == []


async def test_credentials_are_allowed_to_named_origins_only() -> None:
    """G30."""
    client = await ask(with_cors(cors_credentials=True), origin=APP)
    assert client.answer[b"access-control-allow-credentials"] == b"true"
    assert every(client, b"access-control-allow-origin") == [APP.encode()]

    with pytest.raises(ValueError, match="cors_credentials cannot go with"):
        GatewaySettings(cors_origins=("*",), cors_credentials=True)


async def test_any_origin_may_read_without_credentials() -> None:
    """G30: but `null`."""
    app = with_cors(cors_origins=("*",))
    for origin in (APP, "https://evil.org"):
        client = await ask(app, origin=origin)
        assert every(client, b"access-control-allow-origin") == [b"*"]
        assert every(client, b"access-control-allow-credentials") == []
    assert every(await ask(app, origin="null"), b"access-control-allow-origin") == []
    assert (await ask(app, "OPTIONS", origin="null", access_control_request_method="PUT")).status == 403


async def test_a_preflight_is_answered_here_and_needs_no_token() -> None:
    """G30, G23: nothing behind, neither limits nor tokens, gets to see it."""
    behind = Behind()
    client = await ask(
        with_cors(behind, cors_headers=("X-Shop",), cors_credentials=True),
        "OPTIONS",
        origin=APP,
        access_control_request_method="DELETE",
        access_control_request_headers="authorization",
    )

    assert (client.status, client.body, behind.asked) == (204, b"", [])
    assert every(client, b"access-control-allow-origin") == [APP.encode()]
    assert client.answer[b"access-control-allow-credentials"] == b"true"
    assert b"DELETE" in client.answer[b"access-control-allow-methods"].split(b", ")
    assert {b"Authorization", b"X-Orion-Session", b"X-Shop"} <= set(
        client.answer[b"access-control-allow-headers"].split(b", ")
    )
    assert client.answer[b"access-control-max-age"] == b"600"
    assert every(client, b"vary") == [b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]


@pytest.mark.parametrize("origins", [(), ORIGINS])
async def test_a_preflight_of_another_origin_is_refused(origins: tuple[str, ...]) -> None:
    """G30."""
    behind = Behind()
    client = await ask(
        with_cors(behind, cors_origins=origins),
        "OPTIONS",
        origin="https://evil.org",
        access_control_request_method="PUT",
    )

    assert (client.status, client.problem["code"], behind.asked) == (403, "gateway.origin_refused", [])
    assert every(client, b"access-control-allow-origin") == []
    assert b"Origin" in client.answer[b"vary"]


async def test_options_that_is_no_preflight_goes_on() -> None:
    behind = Behind()
    await ask(with_cors(behind), "OPTIONS", origin=APP)
    await ask(with_cors(behind), "OPTIONS", access_control_request_method="PUT")

    assert behind.asked == ["OPTIONS", "OPTIONS"]


async def test_what_is_behind_decides_nothing_about_origins() -> None:
    """G30: Access-Control headers of upstreams are removed, with and without origins that are allowed."""
    client = await ask(with_cors(cors_origins=()), origin=APP)

    assert [name for name, _ in client.sent[0]["headers"]] == [b"vary", b"x-own"]


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("users is away", retry_after=2), 503), (RuntimeError("secret of ours"), 500)]
)
async def test_a_page_may_read_errors_too(error: Exception, status: int) -> None:
    """G30: Vary and the permission are on every answer; of a defect it learns nothing."""
    client = await ask(with_cors(Behind(error)), origin=APP)

    assert (client.status, client.problem["status"]) == (status, status)
    assert every(client, b"access-control-allow-origin") == [APP.encode()]
    assert b"Origin" in every(client, b"vary")
    assert b"secret of ours" not in client.body


async def test_an_error_after_the_answer_began_cuts_the_connection() -> None:
    """G2."""
    with pytest.raises(RuntimeError, match="broke"):
        await ask(with_cors(Behind(late=RuntimeError("broke"))), origin=APP)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "app.example",
        "https://app.example/",
        "https://app.example/path",
        "https://APP.example",
        "https://*.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example:99999",
        "https://ada@app.example",
        "ftp://app.example",
        r"https://app\.example",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_at_start(origin: str) -> None:
    """G30: it would never match, or match too much."""
    with pytest.raises(ValueError, match="cors_origins"):
        GatewaySettings(cors_origins=(origin,))


def test_a_header_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="cors_headers"):
        GatewaySettings(cors_headers=("X-Shop\r\nSet-Cookie: a=b",))


# -- the cross-site guard

COOKIE = {"cookie": "__Host-orion_refresh=x"}
OURS = "https://shop.example"


def guarded(behind: Behind | None = None, public_url: str = f"{OURS}/", **settings: Any) -> Any:
    return cross_site_guard(behind or Behind(), public_url, GatewaySettings(**settings))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MERGE"])
@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, False),
        ({"origin": OURS}, True),
        ({"origin": APP}, True),
        ({"origin": "https://evil.org"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://api.example.org"}, False),
        ({"x_orion_session": "cookie"}, True),
        ({"x_orion_session": "cookie", "origin": OURS}, True),
        ({"x_orion_session": "cookie", "origin": "https://evil.org"}, False),
        ({"authorization": "Bearer token", "origin": "https://evil.org"}, True),
    ],
)
async def test_cookies_change_something_for_our_pages_only(method: str, headers: dict[str, str], passes: bool) -> None:
    """G31."""
    behind = Behind()
    client = await ask(guarded(behind, cors_origins=(APP,)), method, **COOKIE, **headers)

    if passes:
        assert (client.status, behind.asked) == (200, [method])
    else:
        assert (client.status, client.problem["code"], behind.asked) == (403, "gateway.cross_site", [])
        assert "X-Orion-Session" in client.problem["detail"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_reading_is_not_guarded(method: str) -> None:
    """G31: a page elsewhere cannot read the answer."""
    assert (await ask(guarded(), method, **COOKIE, origin="https://evil.org")).status == 200


async def test_without_cookies_there_is_nothing_to_guard() -> None:
    assert (await ask(guarded(), "POST", origin="https://evil.org")).status == 200


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://api.example.org", True),
        ("https://api.example.org", False),
        ("http://api.example.org.evil.org", False),
        ("http://evil.org", False),
    ],
)
async def test_without_a_public_url_the_host_that_was_asked_is_ours(origin: str, passes: bool) -> None:
    """G31."""
    assert ((await ask(guarded(public_url=""), "POST", **COOKIE, origin=origin)).status == 200) is passes


def test_a_public_url_that_cannot_be_read_refuses_the_start() -> None:
    with pytest.raises(StartRefused, match="ORION_PUBLIC_URL: Port out of range"):
        guarded(public_url="http://localhost:99999")


async def test_any_origin_in_cors_is_none_that_may_send_cookies() -> None:
    """G31: pages of any origin may read; they may not act as whoever sits in front of them."""
    assert (await ask(guarded(cors_origins=("*",)), "POST", **COOKIE, origin="https://evil.org")).status == 403


@pytest.mark.parametrize(("origin", "kind"), [("https://evil.org", "websocket.close"), (OURS, "websocket.accept")])
async def test_a_handshake_with_cookies_is_guarded_like_a_change(origin: str, kind: str) -> None:
    """G31: a WebSocket can be read by the page that opens it, whatever CORS says."""
    client = await ask(guarded(), kind="websocket", **COOKIE, origin=origin)

    assert client.sent[0]["type"] == kind
