"""HTTPS in production: what counts as encrypted, what is refused, and what browsers are told."""

from __future__ import annotations

from typing import Any

import pytest
from test_proxy import Client

from orion_core.context import Context, use
from orion_core.settings import Settings
from orion_plugins.gateway.https import https

PUBLIC = "https://shop.example"
PROXY = {"trusted_proxies": ("198.51.100.0/24",)}


async def ask(settings: Settings, *protos: str, scheme: str = "http", kind: str = "http") -> tuple[Client, list[str]]:
    schemes = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        schemes.append(scope["scheme"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"location", b"/")]})
        await send({"type": "http.response.body", "body": b""})

    client = Client(headers=[(b"x-forwarded-proto", proto.encode()) for proto in protos])
    with use(Context(correlation_id="r-1")):
        await https(behind, settings)({**client.scope, "scheme": scheme, "type": kind}, client.receive, client.send)
    return client, schemes


async def test_plain_http_is_refused_in_production_and_not_redirected() -> None:
    """G90: with a redirect nobody would notice that secrets are sent in plain text (ASVS 4.1.2)."""
    client, schemes = await ask(Settings(public_url=PUBLIC))

    assert (client.status, client.problem["code"], schemes) == (403, "gateway.https_required", [])
    assert b"location" not in client.answer
    assert PUBLIC in client.problem["detail"]


@pytest.mark.parametrize("url", ["http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000", ""])
async def test_a_loopback_address_is_no_production(url: str) -> None:
    """G90."""
    client, schemes = await ask(Settings(public_url=url))

    assert (client.status, schemes) == (200, ["http"])
    assert b"strict-transport-security" not in client.answer


async def test_over_tls_browsers_are_told_to_use_nothing_else() -> None:
    """G90: for at least a year."""
    client, schemes = await ask(Settings(public_url=PUBLIC), scheme="https")

    assert (client.status, schemes) == (200, ["https"])
    directives = client.answer[b"strict-transport-security"].decode().split("; ")
    assert int(directives[0].removeprefix("max-age=")) >= 365 * 86_400
    assert directives[1:] == ["includeSubDomains"]


@pytest.mark.parametrize(
    ("protos", "believed"),
    [
        (["https"], True),
        (["HTTPS"], True),
        (["https, https"], True),
        (["https", "https"], True),
        (["http"], False),
        (["https, http"], False),
        (["http", "https"], False),
        ([], False),
        ([""], False),
        (["https;"], False),
    ],
)
async def test_a_trusted_proxy_says_how_it_was_asked(protos: list[str], believed: bool) -> None:
    """G90, G10."""
    client, schemes = await ask(Settings(public_url=PUBLIC, **PROXY), *protos)

    assert (client.status, schemes) == ((200, ["https"]) if believed else (403, []))


async def test_what_anybody_else_says_about_the_scheme_counts_for_nothing() -> None:
    """G10, G90."""
    for settings in (Settings(public_url=PUBLIC), Settings(public_url=PUBLIC, trusted_proxies=("10.0.0.0/8",))):
        client, _ = await ask(settings, "https")
        assert client.status == 403


async def test_the_scheme_of_a_trusted_proxy_is_taken_over_elsewhere_too() -> None:
    client, schemes = await ask(Settings(**PROXY), "https")

    assert (client.status, schemes) == (200, ["https"])


async def test_a_handshake_in_plain_text_is_refused() -> None:
    """G90."""
    client, schemes = await ask(Settings(public_url=PUBLIC), scheme="ws", kind="websocket")

    assert ([message["type"] for message in client.sent], schemes) == (["websocket.close"], [])
