"""Every fault of an upstream, through the whole chain: what a client gets, and how often the upstream was asked."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from chain import chained
from faults import AFTER_WHICH_A_RETRY_MAY_COME, FAULTS, SILENT, faulty, says
from test_proxy import Client
from upstream import Upstream, held, serve_well, until

from orion_core.context import Context, use
from orion_plugins.gateway.client import UpstreamError
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.upstreams import Upstream as Chain

BODY = [b"to be ", b"counted ", b"once"]
LENGTH = (b"content-length", b"18")
CHUNKED = (b"transfer-encoding", b"chunked")


async def ask(chain: Chain, client: Client) -> Client:
    """Let `client` ask; what breaks after the answer has begun leaves the application, as it should."""
    with use(Context(correlation_id="r-1")), contextlib.suppress(UpstreamError):
        await chain(client.scope, client.receive, client.send)
    return client


def times(fault: str) -> dict[str, float]:
    """Limits of time: short for those faults alone that nothing else would end."""
    return {"timeout": 0.5, "idle_timeout": 0.25} if fault in SILENT else {}


def seen(upstream: Upstream, method: str) -> int:
    return sum(request.method == method for request in upstream.requests)


def test_there_are_more_than_twenty_kinds_of_fault() -> None:
    assert len(FAULTS) >= 20


@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("framing", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_post_is_seen_exactly_once(fault: str, framing: tuple[bytes, bytes], warm: bool) -> None:
    """G51: over a fresh connection and over a kept one, with its body streamed either way."""
    async with faulty(FAULTS[fault], warm=warm) as upstream, chained(upstream.url, **times(fault)) as chain:
        if warm:
            assert (await ask(chain, Client())).status == 200
        client = await ask(chain, Client("POST", "/shop", headers=[framing], parts=list(BODY)))

        assert seen(upstream, "POST") == 1
        # Nobody may take it for done, nor for more than one answer.
        assert client.status >= 500 or not client.whole
        assert sum(message["type"] == "http.response.start" for message in client.sent) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_get_is_seen_three_times_at_most_and_only_after_faults_that_may_pass(fault: str) -> None:
    """G51."""
    async with faulty(FAULTS[fault]) as upstream, chained(upstream.url, **times(fault)) as chain:
        client = await ask(chain, Client(path="/shop"))

        assert seen(upstream, "GET") == (3 if fault in AFTER_WHICH_A_RETRY_MAY_COME else 1)
        assert client.status >= 500 or not client.whole


@pytest.mark.parametrize("fault", sorted(AFTER_WHICH_A_RETRY_MAY_COME))
@pytest.mark.parametrize(("method", "key"), [("PUT", False), ("POST", True)])
async def test_what_is_sent_again_is_the_same_byte_for_byte(fault: str, method: str, key: bool) -> None:
    """G51: a body that came in parts, read in part or whole by the attempt that failed."""
    headers = [LENGTH, *([(b"idempotency-key", b"k")] if key else [])]
    async with faulty(FAULTS[fault], times=1) as upstream, chained(upstream.url) as chain:
        client = await ask(chain, Client(method, "/shop", headers=headers, parts=list(BODY)))

        assert (client.status, client.body) == (200, b"ok")
        assert seen(upstream, method) == 2
        assert upstream.requests[-1]["content-length"] == "18"
        assert set(upstream.bodies) == {b"".join(BODY)}


async def test_a_kept_connection_that_is_dead_costs_a_get_nothing() -> None:
    """G51."""
    async with (
        faulty(FAULTS["closes without an answer"], warm=True, times=1) as upstream,
        chained(upstream.url) as chain,
    ):
        for _ in range(4):
            assert (await ask(chain, Client())).status == 200


async def test_a_breaker_opens_answers_at_once_and_closes_again() -> None:
    """G50: 503 with Retry-After while it is open, nothing reaches the upstream, and three probes close it."""
    now = [0.0]
    fault = FAULTS["answers 500"]
    async with faulty(fault, times=20) as upstream, chained(upstream.url, now=lambda: now[0]) as chain:
        for _ in range(20):
            assert (await ask(chain, Client("POST", "/shop"))).status == 500
        assert chain.circuit.state == "open"
        scope = Client("POST", "/shop").scope
        refused = Client("POST", "/shop")
        with use(Context(correlation_id="r-1")):
            await chain(scope, refused.receive, refused.send)
        assert (refused.status, refused.problem["code"]) == (503, "gateway.breaker_open")
        assert 9 <= int(refused.answer[b"retry-after"]) <= 10
        assert (scope["orion_upstream"], scope["orion_breaker"], scope["orion_retries"]) == ("shop", "open", 0)
        assert scope["orion_upstream_ms"] >= 0
        assert len(upstream.requests) == 20
        assert (await chain.check()).status == "warn"

        now[0] += 10
        for _ in range(3):
            assert (await ask(chain, Client("POST", "/shop"))).status == 200
        assert chain.circuit.state == "closed"
        assert (await chain.check()).status == "pass"


@pytest.mark.parametrize("status", [b"400 Bad Request", b"404 Not Found", b"429 Too Many Requests"])
async def test_a_4xx_is_a_sign_of_life(status: bytes) -> None:
    """G50."""
    answer = says(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)
    async with faulty(answer) as upstream, chained(upstream.url) as chain:
        for _ in range(30):
            await ask(chain, Client(path="/shop"))
        assert chain.circuit.state == "closed"
        assert len(upstream.requests) == 30


async def test_five_refused_connections_open_the_breaker() -> None:
    """G50, G51: each attempt counts, so two requests are enough."""
    async with Upstream(serve_well) as gone:
        url = gone.url
    async with chained(url) as chain:
        for _ in range(2):
            assert (await ask(chain, Client(path="/shop"))).status == 503
        assert chain.circuit.state == "open"


async def test_clients_that_leave_do_not_open_the_breaker() -> None:
    """G50, G52: the call is cancelled, and says nothing about the upstream."""
    async with faulty(FAULTS["says nothing"]) as upstream, chained(upstream.url) as chain:
        for count in range(25):
            client = Client(path="/shop")
            client.left.set()
            await ask(chain, client)
            await until(lambda count=count: upstream.wires[count].left)
        assert chain.circuit.state == "closed"


async def test_clients_that_are_slow_to_send_do_not_open_the_breaker() -> None:
    """G1, G50: 408 for those whose bodies never come, and nobody else pays for it."""
    async with Upstream(held(b"")) as upstream, chained(upstream.url, timeout=0.05) as chain:
        clients = [
            Client("POST", "/shop", headers=[LENGTH], parts=[b"to be", b"never whole"], stall_at=1) for _ in range(25)
        ]
        await asyncio.gather(*[ask(chain, client) for client in clients])

    assert {client.status for client in clients} == {408}
    assert clients[0].problem["code"] == "gateway.request_timeout"
    assert chain.circuit.state == "closed"


async def test_our_own_limit_of_connections_does_not_open_the_breaker() -> None:
    few = GatewaySettings(connections=1, connect_timeout=0.01)
    async with (
        faulty(FAULTS["says nothing"]) as upstream,
        chained(upstream.url, gateway=few) as chain,
    ):
        first = Client(path="/shop")
        held = asyncio.create_task(ask(chain, first))
        await until(lambda: upstream.requests)
        for _ in range(10):
            assert (await ask(chain, Client(path="/shop"))).status == 503
        assert chain.circuit.state == "closed"
        first.left.set()
        await held
