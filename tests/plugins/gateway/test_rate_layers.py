"""The limits of the gateway: whom they count, over several gateways, and without Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from test_proxy import Client

from orion_core.adapters.memory_limits import MemoryLimits
from orion_core.adapters.redis_limits import RedisLimits
from orion_core.context import Actor, Context, use
from orion_core.ports.limits import Limits
from orion_core.testing.clock import MovableClock
from orion_core.testing.services import redis_url
from orion_core.web.guard import VERIFIED
from orion_plugins.gateway.address_key import address_key
from orion_plugins.gateway.rate_by_address import rate_by_address
from orion_plugins.gateway.rate_by_user import rate_by_user
from orion_plugins.gateway.settings import GatewaySettings

SETTINGS = GatewaySettings(address_limit="100/8640000", user_limit="2/86400", login_limit="3/86400")


async def here(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "websocket.accept"})


async def ask(app: Any, address: str = "198.51.100.7", **more: Any) -> Client:
    client = Client(method=more.pop("method", "GET"), path=more.pop("path", "/"))
    with use(Context(correlation_id="r-1", client_ip=address)):
        await app({**client.scope, **more}, client.receive, client.send)
    return client


@contextlib.asynccontextmanager
async def gateways(count: int) -> AsyncIterator[list[Any]]:
    """Several gateways that share one Redis."""
    prefix = f"test:{uuid4().hex}:"
    url = f"{redis_url()}?prefix={prefix}"
    limits = [RedisLimits.open(url, MovableClock(), count) for _ in range(count)]
    try:
        yield [rate_by_address(here, each, SETTINGS) for each in limits]
    finally:
        for each in limits:
            await each.aclose()
        async with Redis.from_url(redis_url()) as client:
            async for key in client.scan_iter(f"{prefix}*"):
                await client.delete(key)


async def test_fifty_clients_over_three_gateways_get_exactly_the_limit() -> None:
    """G20."""
    async with gateways(3) as apps:

        async def client(number: int) -> list[int]:
            return [(await ask(apps[(number + turn) % 3])).status for turn in range(4)]

        statuses = [status for found in await asyncio.gather(*map(client, range(50))) for status in found]

    assert (statuses.count(200), statuses.count(429)) == (100, 100)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
        ("2001:0DB8:1:2::1", "2001:db8:1:2::1", True),
        ("not:an:address", "not:an:address", True),
        ("", "", True),
    ],
)
def test_an_address_is_counted_as_one_subscriber(one: str, other: str, same: bool) -> None:
    """G10, G20: IPv6 is keyed by /64."""
    assert (address_key(one) == address_key(other)) is same


async def test_addresses_of_one_subscriber_share_a_limit() -> None:
    """G10."""
    settings = GatewaySettings(address_limit="2/86400")
    app = rate_by_address(here, MemoryLimits(MovableClock()), settings)

    assert [(await ask(app, f"2001:db8::{number}")).status for number in (1, 2, 3)] == [200, 200, 429]
    assert (await ask(app, "2001:db8:0:1::1")).status == 200


def as_user(limits: Limits) -> Any:
    return rate_by_user(here, limits, SETTINGS)


async def test_a_person_is_counted_from_whichever_address() -> None:
    """G20."""
    app, ada = as_user(MemoryLimits(MovableClock())), {VERIFIED: Actor("user", "ada")}
    statuses = [(await ask(app, f"198.51.100.{number}", **ada)).status for number in range(3)]

    assert statuses == [200, 200, 429]
    assert (await ask(app, **{VERIFIED: Actor("user", "bob")})).status == 200
    assert [(await ask(app, **{VERIFIED: Actor("anonymous")})).status for _ in range(5)] == [200] * 5
    assert [(await ask(app)).status for _ in range(5)] == [200] * 5


async def test_a_handshake_is_counted_and_refused_like_a_request() -> None:
    """G20, G22: with its headers where the server can send an answer, else by closing."""
    app = rate_by_address(here, MemoryLimits(MovableClock()), GatewaySettings(address_limit="1/86400"))
    assert (await ask(app, type="websocket")).sent == [{"type": "websocket.accept"}]
    [closed] = (await ask(app, type="websocket")).sent
    started, body = (await ask(app, type="websocket", extensions={"websocket.http.response": {}})).sent

    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
    assert (started["type"], started["status"]) == ("websocket.http.response.start", 429)
    assert dict(started["headers"])[b"ratelimit-policy"] == b'"address";q=1;w=86400'
    assert body["type"] == "websocket.http.response.body"


@pytest.mark.parametrize("limit", ["", "10", "0/60", "10/0", "ten/60", "10/60/1", "-1/60"])
@pytest.mark.parametrize("field", ["address_limit", "user_limit", "login_limit", "reset_limit", "mfa_limit"])
def test_a_limit_that_cannot_be_read_is_named(field: str, limit: str) -> None:
    with pytest.raises(ValueError, match=field):
        GatewaySettings(**{field: limit})  # type: ignore[arg-type]


def test_a_path_that_matches_nothing_is_named() -> None:
    with pytest.raises(ValueError, match="login_paths"):
        GatewaySettings(login_paths=("/api/v1/auth/login/",))
