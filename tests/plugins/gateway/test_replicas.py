"""Several URLs of one peer: they take turns, and one that is away is passed over."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from test_proxy import Client, ask
from upstream import Upstream, Wire, ok, serve_well

from orion_core.context import Context, use
from orion_plugins.gateway.client import Response, UpstreamUnreachable
from orion_plugins.gateway.exchange import Exchange
from orion_plugins.gateway.pool import Pool
from orion_plugins.gateway.proxy import Proxy
from orion_plugins.gateway.replicas import Replicas
from orion_plugins.gateway.settings import GatewaySettings


def closed_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


class Away:
    """A `Transport` that cannot be reached until it is told so."""

    def __init__(self) -> None:
        self.asked = 0
        self.reachable = False

    async def send(self, *_: Any, **__: Any) -> Response:
        self.asked += 1
        if not self.reachable:
            raise UpstreamUnreachable("no connection could be opened")
        return Exchange(asyncio.get_running_loop(), self)

    def resume(self) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        pass


async def test_replicas_take_turns() -> None:
    async with Upstream(serve_well) as one, Upstream(serve_well) as two:
        pools = [Pool(one.url), Pool(two.url)]
        proxy = Proxy(Replicas(pools), service="users")
        for _ in range(6):
            assert (await ask(proxy, Client())).status == 200
        for pool in pools:
            await pool.aclose()

    assert (len(one.requests), len(two.requests)) == (3, 3)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_replica_that_cannot_be_reached_costs_nobody_an_answer(method: str) -> None:
    """G51: nothing was sent, so even a POST may go to the next one, and arrives once."""
    async with Upstream(serve_well) as well:
        pools = [Pool(closed_url()), Pool(well.url)]
        proxy = Proxy(Replicas(pools), service="users")
        body = [b"first", b"second"] if method == "POST" else []
        headers = [(b"content-length", b"11")] if method == "POST" else []
        for _ in range(4):
            assert (await ask(proxy, Client(method, headers=headers, parts=list(body)))).status == 200
        for pool in pools:
            await pool.aclose()

    assert len(well.requests) == 4


async def test_a_replica_that_is_away_is_asked_last_for_a_while() -> None:
    away, well = Away(), Away()
    replicas = Replicas([away, well], rest=3600)
    with pytest.raises(UpstreamUnreachable):
        await replicas.send("GET", b"/", ())
    well.reachable = True
    for _ in range(5):
        await replicas.send("GET", b"/", ())

    assert (away.asked, well.asked) == (1, 6)


async def test_what_may_have_arrived_is_not_sent_again() -> None:
    """G51: a replica that breaks off may have done what it was asked."""

    async def breaks_off(wire: Wire) -> None:
        await wire.head()
        await wire.body()

    async with Upstream(breaks_off) as bad, Upstream(serve_well) as well:
        pools = [Pool(bad.url), Pool(well.url)]
        answered = await ask(Proxy(Replicas(pools), service="users"), Client("POST"))
        for pool in pools:
            await pool.aclose()

    assert answered.status == 502
    assert not well.requests


async def test_when_all_replicas_are_away_the_answer_is_503() -> None:
    pools = [Pool(closed_url()), Pool(closed_url())]
    answered = await ask(Proxy(Replicas(pools), service="users"), Client())
    for pool in pools:
        await pool.aclose()

    assert (answered.status, answered.problem["code"]) == (503, "gateway.upstream_unreachable")


async def test_upstreams_learn_the_address_that_the_edge_found() -> None:
    """G10: behind a trusted balancer the peer of the connection is the balancer, not the client."""
    async with Upstream(serve_well) as upstream:
        pool, client = Pool(upstream.url), Client()
        with use(Context(correlation_id="r-1", client_ip="203.0.113.9")):
            await Proxy(pool, service="users")(client.scope, client.receive, client.send)
        await pool.aclose()

    assert upstream.requests[0]["x-forwarded-for"] == "203.0.113.9"


@pytest.mark.parametrize("name", ["connections", "connect_timeout", "idle_timeout"])
@pytest.mark.parametrize("given", [0, -1])
def test_settings_that_could_not_work_are_refused_by_name(name: str, given: int) -> None:
    with pytest.raises(ValueError, match=name):
        GatewaySettings(**{name: given})


async def test_a_replica_that_closes_its_connections_is_asked_after_the_others() -> None:
    """G81: it is about to stop."""

    async def leaving(wire: Wire) -> None:
        await wire.head()
        await wire.send(ok(extra=b"connection: close\r\n"))

    async with Upstream(leaving) as one, Upstream(serve_well) as two:
        pools = [Pool(one.url), Pool(two.url)]
        proxy = Proxy(Replicas(pools), service="users")
        for _ in range(6):
            assert (await ask(proxy, Client())).status == 200
        for pool in pools:
            await pool.aclose()

    assert (len(one.requests), len(two.requests)) == (1, 5)
