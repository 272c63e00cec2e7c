"""Configured upstreams: fields added and dropped, fallbacks, replicas and their health, times, streams of events."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import attrs
import pytest
from chain import chained
from faults import FAULTS, faulty
from test_proxy import Client
from test_replicas import closed_url
from test_upstream_faults import ask
from upstream import Upstream, Wire, held, ok, once, serve_well, until

from orion_core.context import Context, use
from orion_plugins.gateway.client import Headers
from orion_plugins.gateway.health_checks import HealthChecks
from orion_plugins.gateway.pool import Pool
from orion_plugins.gateway.replicas import Replicas
from orion_plugins.gateway.upstream_settings import FallbackSettings
from orion_plugins.gateway.upstreams import Upstream as Chain

# -- fields


async def test_fields_are_added_and_dropped_on_the_way_there() -> None:
    """G11, G13: what is added takes the place of what the client said; credentials go only where that is declared."""
    sent = [
        (b"x-shop", b"theirs"),
        (b"x-noise", b"1"),
        (b"authorization", b"Bearer t"),
        (b"cookie", b"a=b"),
        (b"accept", b"*/*"),
    ]
    async with (
        Upstream(serve_well) as upstream,
        chained(upstream.url, add_headers={"X-Shop": "ours"}, drop_headers=("X-Noise",)) as chain,
        chained(upstream.url, forward=("authorization",)) as trusted,
    ):
        await ask(chain, Client(path="/shop", headers=sent))
        await ask(trusted, Client(path="/shop", headers=sent))

    changed, passed = upstream.requests
    assert changed["x-shop"] == "ours"
    assert [changed.all(name) for name in ("x-noise", "authorization", "cookie")] == [[], [], []]
    assert changed["accept"] == "*/*"
    assert (passed["x-shop"], passed["authorization"], passed.all("cookie")) == ("theirs", "Bearer t", [])


async def test_fields_are_added_and_dropped_on_the_way_back() -> None:
    answer = ok(b"ok", b"x-powered-by: x\r\ncache-control: public\r\nx-kept: 1\r\n")
    async with (
        Upstream(once(answer)) as upstream,
        chained(
            upstream.url,
            add_response_headers={"Cache-Control": "no-store"},
            drop_response_headers=("X-Powered-By",),
        ) as chain,
    ):
        client = await ask(chain, Client(path="/shop"))

    assert client.sent[0]["headers"] == [
        (b"x-kept", b"1"),
        (b"content-length", b"2"),
        (b"cache-control", b"no-store"),
    ]


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/shop", b"", "/"),
        ("/shop", b"q=1", "/?q=1"),
        ("/shop/", b"", "/"),
        ("/shop/a%20b", b"", "/a%20b"),
        ("/shop/shop", b"", "/shop"),
    ],
)
async def test_the_prefix_is_cut_off_if_that_is_wanted(path: str, query: bytes, target: str) -> None:
    async with Upstream(serve_well) as upstream, chained(upstream.url, strip_prefix=True) as chain:
        await ask(chain, Client(path=path, query=query))
    assert upstream.requests[0].target == target


async def test_a_prefix_that_came_encoded_is_cut_off_as_well() -> None:
    async with Upstream(serve_well) as upstream, chained(upstream.url + "/base", strip_prefix=True) as chain:
        client = Client()
        with use(Context()):
            scope = {**client.scope, "path": "/shop/a", "raw_path": b"/%73hop/a"}
            await chain(scope, client.receive, client.send)
    assert upstream.requests[0].target == "/base/a"


# -- times (G52)


async def test_what_is_left_of_the_deadline_goes_on_to_the_upstream() -> None:
    """G52: of the request's deadline and the upstream's own time the shorter one counts; the client's word does not."""
    async with (
        Upstream(serve_well) as upstream,
        chained(upstream.url, timeout=5) as short,
        chained(upstream.url, timeout=50) as long,
    ):
        client = Client(path="/shop", headers=[(b"x-request-timeout", b"9H")])
        for chain in (short, long):
            with use(Context(deadline=asyncio.get_running_loop().time() + 20)):
                await chain(client.scope, client.receive, client.send)

    told = [int(request["x-request-timeout"].removesuffix("m")) for request in upstream.requests]
    assert 0 < told[0] <= 5000 < told[1] <= 20000


async def test_an_upstream_without_an_answer_in_its_time_is_504() -> None:
    """G1, G52."""
    async with Upstream(held(b"")) as upstream, chained(upstream.url, timeout=0.02, idle_timeout=60) as chain:
        assert (await ask(chain, Client(path="/shop"))).status == 504


# -- fallbacks


async def marked(chain: Chain, client: Client | None = None, **scope: Any) -> tuple[int, bytes, bytes]:
    client = client or Client(path="/shop")
    with use(Context()):
        await chain({**client.scope, **scope}, client.receive, client.send)
    return client.status, client.body, client.answer.get(b"x-orion-fallback", b"")


async def stale() -> tuple[int, Headers, bytes]:
    return 200, [(b"content-type", b"text/plain"), (b"age", b"90")], b"old"


async def none_kept() -> None:
    return None


async def test_a_body_that_never_changes_answers_for_an_upstream_that_is_away() -> None:
    """G50: marked, so that nobody takes it for the upstream's own answer."""
    async with chained(closed_url(), fallback=FallbackSettings(body='{"items": []}')) as chain:
        client = Client(path="/shop")
        assert await marked(chain, client) == (200, b'{"items": []}', b"static")
        assert client.answer[b"content-type"] == b"application/json"
        assert client.answer[b"cache-control"] == b"no-store"


async def test_an_open_breaker_answers_with_the_fallback() -> None:
    """G50."""
    async with (
        faulty(FAULTS["answers 500"]) as upstream,
        chained(upstream.url, fallback=FallbackSettings(status=203, body="later", content_type="text/plain")) as chain,
    ):
        for _ in range(20):
            assert (await marked(chain, Client("POST", "/shop")))[0] == 500  # an answer is an answer
        assert chain.circuit.state == "open"
        assert await marked(chain) == (203, b"later", b"static")
        assert len(upstream.requests) == 20


async def test_a_stale_answer_comes_before_everything_else() -> None:
    """G50, G70: the response cache leaves in the scope how to find it."""
    async with chained(closed_url(), fallback=FallbackSettings(stale=True, body="fixed")) as chain:
        assert await marked(chain, orion_stale=stale) == (200, b"old", b"stale")
        assert await marked(chain, orion_stale=none_kept) == (200, b"fixed", b"static")
        assert await marked(chain) == (200, b"fixed", b"static")
    async with chained(closed_url(), fallback=FallbackSettings(body="fixed")) as chain:
        assert await marked(chain, orion_stale=stale) == (200, b"fixed", b"static")


async def test_another_upstream_answers_and_gets_the_same_request() -> None:
    """G50: with its own fields, and a POST only because nothing of it was sent to the first one."""
    async with (
        Upstream(serve_well) as second,
        chained(second.url, add_headers={"x-second": "1"}) as other,
        chained(
            closed_url(),
            strip_prefix=True,
            others={"second": other},
            fallback=FallbackSettings(upstream="second", body="fixed"),
        ) as chain,
    ):
        client = Client("POST", "/shop/a", headers=[(b"content-length", b"4")], parts=[b"a", b"b", b"cd"])
        assert await marked(chain, client) == (200, b"ok", b"upstream second")

    assert (second.requests[0].target, second.requests[0]["x-second"], second.bodies) == ("/a", "1", [b"abcd"])


async def test_a_post_that_may_have_arrived_goes_to_no_other_upstream() -> None:
    """G51."""
    async with (
        faulty(FAULTS["closes without an answer"]) as first,
        Upstream(serve_well) as second,
        chained(second.url) as other,
        chained(first.url, others={"second": other}, fallback=FallbackSettings(upstream="second")) as chain,
    ):
        client = Client("POST", "/shop", headers=[(b"content-length", b"1")], parts=[b"a"])
        assert (await marked(chain, client))[0] == 502
        assert (await marked(chain, Client("GET", "/shop")))[:2] == (200, b"ok")

    assert [request.method for request in second.requests] == ["GET"]


async def test_when_the_other_upstream_is_away_too_the_next_fallback_counts() -> None:
    async with (
        chained(closed_url()) as other,
        chained(closed_url(), others={"x": other}, fallback=FallbackSettings(upstream="x")) as chain,
    ):
        status, _, mark = await marked(chain)
        assert (status, mark) == (503, b"")


async def test_a_body_that_an_earlier_attempt_has_read_goes_to_no_other_upstream() -> None:
    """G51: the last attempt sent nothing, but the first one did, and took the beginning of the body with it."""

    async def once_and_away(wire: Wire) -> None:
        first._server.close()
        await wire.head()
        await wire.body()

    async with (
        Upstream(once_and_away) as first,
        Upstream(serve_well) as second,
        chained(second.url) as other,
        chained(first.url, others={"x": other}, fallback=FallbackSettings(upstream="x")) as chain,
    ):
        client = Client("PUT", "/shop", headers=[(b"content-length", b"3")], parts=[b"a", b"b", b"c"])
        status, _, mark = await marked(chain, client)
    assert (status, mark, second.requests) == (503, b"", [])


@pytest.mark.parametrize("status", [200, 418, 503])
async def test_a_fallback_keeps_its_status_and_has_no_body_for_head(status: int) -> None:
    async with chained(closed_url(), fallback=FallbackSettings(status=status, body="later")) as chain:
        assert await marked(chain) == (status, b"later", b"static")
        assert await marked(chain, Client("HEAD", "/shop")) == (status, b"", b"static")


# -- replicas


@attrs.define
class Slow:
    """An upstream's script that answers when it is told to."""

    answers: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.head()
            await self.answers.wait()
            await wire.send(ok())


async def test_with_least_busy_a_replica_that_is_slow_gets_fewer_requests() -> None:
    slow = Slow()
    async with (
        Upstream(slow) as one,
        Upstream(serve_well) as two,
        chained(one.url, two.url, balance="least_busy") as chain,
    ):
        waiting = asyncio.create_task(ask(chain, Client(path="/shop")))
        await until(lambda: one.requests)
        for _ in range(6):
            assert (await ask(chain, Client(path="/shop"))).status == 200
        slow.answers.set()
        assert (await waiting).status == 200

    assert (len(one.requests), len(two.requests)) == (1, 6)


async def test_a_replica_that_fails_two_checks_gets_nothing_until_it_passes_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = [503]

    async def moody(wire: Wire) -> None:
        while True:
            await wire.head()
            await wire.send(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status[0])

    async with Upstream(moody) as one, Upstream(serve_well) as two:
        pools = [Pool(one.url), Pool(two.url)]
        replicas = Replicas(pools)
        checks = HealthChecks("shop", replicas, pools, "/up", 3600)
        with caplog.at_level(logging.INFO, logger="orion.gateway.health"):
            await checks.look()
            assert replicas.healthy == (True, True)
            await checks.look()
            assert replicas.healthy == (False, True)
            for _ in range(4):
                (await replicas.send("POST", b"/", ())).abort()
            status[0] = 204
            await checks.look()
            assert replicas.healthy == (True, True)
        for pool in pools:
            await pool.aclose()

    assert [request.target for request in one.requests] == ["/up"] * 3
    told = [(vars(each)["upstream"], vars(each)["replica"], vars(each)["healthy"]) for each in caplog.records]
    assert told == [("shop", 1, False), ("shop", 1, True)]


async def test_when_no_replica_is_well_all_are_asked() -> None:
    """A check that is wrong for all of them must not be the outage."""
    async with Upstream(serve_well) as one, Upstream(serve_well) as two:
        pools = [Pool(one.url), Pool(two.url)]
        replicas = Replicas(pools)
        for index in range(2):
            replicas.set_healthy(index, False)
        for _ in range(4):
            (await replicas.send("GET", b"/", ())).abort()
        for pool in pools:
            await pool.aclose()
    assert (len(one.requests), len(two.requests)) == (2, 2)


async def test_health_checks_run_once_requests_come_and_end_with_the_chain() -> None:
    checked = asyncio.Event()

    async def script(wire: Wire) -> None:
        while True:
            if (await wire.head()).target == "/up":
                checked.set()
            await wire.send(ok())

    async with (
        Upstream(script) as one,
        Upstream(script) as two,
        chained(one.url, two.url, health="/up", health_interval=0.01) as chain,
    ):
        assert (await ask(chain, Client(path="/shop"))).status == 200
        async with asyncio.timeout(5):
            await checked.wait()
        assert (await chain.check()).status == "pass"
        chain.replicas.set_healthy(0, False)
        found = await chain.check()
        assert (found.status, found.detail) == ("warn", "1 of 2 replicas are unwell")


# -- server-sent events


async def test_events_arrive_one_by_one_and_outlive_the_deadline() -> None:
    """G52: a stream of events has no deadline once it has begun; only silence ends it."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n")
        await go.wait()
        await wire.send(b"data: 2\n\n")
        await wire.gone()

    async with Upstream(script) as upstream, chained(upstream.url) as chain:
        client = Client(path="/shop")
        task = asyncio.create_task(ask(chain, client))
        await until(lambda: client.body == b"data: 1\n\n")
        pool: Pool = chain._pools[0]
        [connection] = pool._open
        assert connection._deadline is None
        connection.check(asyncio.get_running_loop().time() + 30, 60.0)  # long after its deadline
        go.set()
        await until(lambda: client.body == b"data: 1\n\ndata: 2\n\n")
        client.left.set()
        await task
        await until(lambda: upstream.wires[0].left)
    assert not client.whole
