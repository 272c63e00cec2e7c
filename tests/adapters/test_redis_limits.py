"""The limits in Redis keep the promises of their port, and go on without Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from orion_core.adapters.redis_limits import IN_FLIGHT, RedisLimits
from orion_core.ports.limits import Limits, Policy
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import until
from orion_core.testing.faults import FaultProxy, through
from orion_core.testing.services import redis_url
from orion_core.testing.suites.limits import DAY, LimitsSuite

POLICY = Policy("calls", 10, DAY)


@asynccontextmanager
async def a_prefix() -> AsyncIterator[str]:
    """A key prefix of its own; its keys are removed at the end."""
    prefix = f"test:{uuid4().hex}:"
    try:
        yield prefix
    finally:
        async with Redis.from_url(redis_url()) as client:
            async for key in client.scan_iter(f"{prefix}*", count=1000):
                await client.delete(key)


@asynccontextmanager
async def some_limits(
    url: str, prefix: str, replicas: int = 1, clock: MovableClock | None = None
) -> AsyncIterator[RedisLimits]:
    mark = "&" if urlsplit(url).query else "?"
    limits = RedisLimits.open(f"{url}{mark}prefix={prefix}", clock or MovableClock(), replicas)
    try:
        yield limits
    finally:
        await limits.aclose()


@asynccontextmanager
async def limits_behind_a_proxy(replicas: int = 1) -> AsyncIterator[tuple[RedisLimits, FaultProxy]]:
    url = redis_url()
    parts = urlsplit(url)
    async with (
        a_prefix() as prefix,
        FaultProxy(parts.hostname or "127.0.0.1", parts.port or 6379) as proxy,
        some_limits(through(url, proxy), prefix, replicas) as limits,
    ):
        yield limits, proxy


async def allowed(limits: Limits, times: int, policy: Policy = POLICY, key: str = "ada") -> int:
    found = await asyncio.gather(*(limits.spend(policy, key) for _ in range(times)))
    return sum(verdict.allowed for verdict in found)


async def is_back(limits: RedisLimits) -> bool:
    return (await limits.check()).status == "pass"


class TestRedisLimits(LimitsSuite):
    def setup_method(self) -> None:
        self.clock = MovableClock()

    @asynccontextmanager
    async def limits(self) -> AsyncIterator[Limits]:
        async with a_prefix() as prefix, some_limits(redis_url(), prefix, clock=self.clock) as limits:
            yield limits

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)


async def test_fifty_clients_over_three_replicas_get_exactly_the_quota() -> None:
    """G20."""
    policy = Policy("calls", 100, DAY)
    async with contextlib.AsyncExitStack() as stack:
        prefix = await stack.enter_async_context(a_prefix())
        replicas = [await stack.enter_async_context(some_limits(redis_url(), prefix, 3)) for _ in range(3)]

        async def client(number: int) -> int:
            return sum([(await replicas[(number + turn) % 3].spend(policy, "ada")).allowed for turn in range(6)])

        counts = await asyncio.gather(*(client(number) for number in range(50)))

        assert sum(counts) == 100
        assert [each.fallbacks for each in replicas] == [0, 0, 0]


async def test_what_is_asked_in_one_turn_of_the_loop_is_one_call() -> None:
    async with a_prefix() as prefix, some_limits(redis_url(), prefix) as limits, Redis.from_url(redis_url()) as client:
        await limits.spend(POLICY, "first")
        async with client.monitor() as monitor:
            await asyncio.gather(*(limits.spend(POLICY, f"person {number}") for number in range(50)))
            await client.get(f"{prefix}end")
            calls = []
            async for command in _commands(monitor):
                if f"{prefix}end" in command:
                    break
                if "EVALSHA" in command and prefix in command:
                    calls.append(command)

    assert len(calls) == 1
    assert calls[0].count(f"{prefix}limit:calls:person") == 50


async def _commands(monitor: object) -> AsyncIterator[str]:
    async for command in monitor.listen():  # type: ignore[attr-defined]
        yield str(command["command"])


async def test_every_count_has_a_time_to_live() -> None:
    async with a_prefix() as prefix, some_limits(redis_url(), prefix) as limits, Redis.from_url(redis_url()) as client:
        await limits.spend(Policy("calls", 10, 600), "ada")

        assert 0 < await client.pttl(f"{prefix}limit:calls:ada") <= 60_000


async def test_a_script_that_redis_forgot_is_loaded_again() -> None:
    """facts: after a restart a bare EVALSHA fails."""
    async with a_prefix() as prefix, some_limits(redis_url(), prefix) as limits, Redis.from_url(redis_url()) as client:
        assert await allowed(limits, 4) == 4
        await client.script_flush()
        assert await allowed(limits, 20) == 6
        assert limits.fallbacks == 0


@pytest.mark.parametrize("fault", ["refuse", "stall"])
async def test_without_redis_each_process_goes_on_with_its_share(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """G21: the quota divided by the replicas, an alarm, no exception, and back again without a restart."""
    async with limits_behind_a_proxy(replicas=2) as (limits, proxy):
        assert await allowed(limits, 1, key="known") == 1
        await getattr(proxy, fault)()
        with caplog.at_level(logging.INFO, "orion.limits"):
            assert await allowed(limits, 50) == 5
            assert await allowed(limits, 50) == 0
            check = await limits.check()
            assert check.status == "warn"
            assert f"127.0.0.1:{proxy.port}" in check.detail
            assert limits.fallbacks == 100

            await proxy.heal()
            await until(lambda: is_back(limits), "Redis is back", 20.0)
            assert await allowed(limits, 50, key="bob") == 10
            assert limits.fallbacks == 100

    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert len([message for message in messages if "is away" in message]) == 1
    assert len([message for message in messages if "again" in message]) == 1


async def test_the_counts_of_this_process_are_kept_warm() -> None:
    """G21: whoever spent everything while Redis was there does not begin anew when it goes."""
    async with limits_behind_a_proxy() as (limits, proxy):
        assert await allowed(limits, 7) == 7
        await proxy.refuse()

        assert await allowed(limits, 20) == 3


async def test_a_share_that_is_spent_already_allows_nothing_more() -> None:
    """G21: this process allowed 10 for the deployment; of its own quota of 3 nothing is left."""
    async with limits_behind_a_proxy(replicas=3) as (limits, proxy):
        assert await allowed(limits, 20) == 10
        await proxy.refuse()

        assert await allowed(limits, 20) == 0


async def test_what_may_have_been_counted_is_not_sent_again() -> None:
    """facts: redis-py repeats a command after a timeout unless it is told not to."""
    async with limits_behind_a_proxy() as (limits, proxy):
        assert await allowed(limits, 2) == 2
        await proxy.cut()
        assert await allowed(limits, 1) == 1
        await until(lambda: is_back(limits), "Redis is back", 20.0)

        assert await allowed(limits, 20) in (7, 8)


async def test_a_crowd_during_an_outage_leaves_working_limits() -> None:
    async with limits_behind_a_proxy() as (limits, proxy):
        policy = Policy("crowd", 5000, DAY)
        assert await allowed(limits, 1000, policy) == 1000
        await proxy.stall()
        assert await allowed(limits, 1000, policy) == 1000
        await proxy.heal()
        await until(lambda: is_back(limits), "Redis is back", 20.0)
        assert await allowed(limits, 1000, policy, "bob") == 1000
        assert limits.fallbacks == 1000


async def test_however_many_ask_few_calls_are_under_way() -> None:
    """What is asked meanwhile goes with the next call, and no question is decided here for want of a connection."""
    async with limits_behind_a_proxy() as (limits, proxy):
        policy = Policy("crowd", 3000, DAY)

        async def client(number: int) -> int:
            for _ in range(number % 7):
                await asyncio.sleep(0)
            return sum([(await limits.spend(policy, "ada")).allowed for _ in range(10)])

        counts = await asyncio.gather(*map(client, range(400)))

        assert (sum(counts), limits.fallbacks) == (3000, 0)
        assert proxy.connections <= IN_FLIGHT


async def test_opening_succeeds_while_redis_is_away_and_no_password_shows(caplog: pytest.LogCaptureFixture) -> None:
    async with FaultProxy("127.0.0.1", 9) as proxy:
        await proxy.refuse()
        async with some_limits(f"redis://ada:hunter2@127.0.0.1:{proxy.port}/0", "test:") as limits:
            assert await allowed(limits, 20) == 10
            assert "hunter2" not in repr(limits) + (await limits.check()).detail + caplog.text


async def test_closed_limits_still_decide() -> None:
    async with a_prefix() as prefix, some_limits(redis_url(), prefix) as limits:
        await limits.aclose()
        assert await allowed(limits, 20) == 10
        assert (await limits.check()).status == "warn"


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not a Redis URL"):
        RedisLimits.open("memcached://127.0.0.1", MovableClock())


def test_an_outage_is_noticed_on_uvloop_too() -> None:
    """G21."""
    uvloop = pytest.importorskip("uvloop")

    async def lose() -> None:
        async with limits_behind_a_proxy() as (limits, proxy):
            assert await allowed(limits, 4) == 4
            await proxy.cut()
            await proxy.refuse()
            assert await allowed(limits, 20) == 6

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(lose())
