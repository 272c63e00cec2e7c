"""The cache in Redis keeps the promises of its port, and recovers from every outage by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from orion_core.adapters.redis_cache import RedisCache
from orion_core.ports.cache import Cache, CacheUnavailable
from orion_core.testing.faults import FaultProxy, through
from orion_core.testing.services import redis_url
from orion_core.testing.suites.cache import CacheSuite


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
async def a_cache(url: str, prefix: str) -> AsyncIterator[RedisCache]:
    mark = "&" if urlsplit(url).query else "?"
    cache = await RedisCache.open(f"{url}{mark}prefix={prefix}")
    try:
        yield cache
    finally:
        await cache.aclose()


@asynccontextmanager
async def a_cache_behind_a_proxy() -> AsyncIterator[tuple[RedisCache, FaultProxy]]:
    url = redis_url()
    parts = urlsplit(url)
    async with (
        a_prefix() as prefix,
        FaultProxy(parts.hostname or "127.0.0.1", parts.port or 6379) as proxy,
        a_cache(through(url, proxy), prefix) as cache,
    ):
        yield cache, proxy


async def eventually(attempt: Callable[[], Awaitable[None]]) -> None:
    """Repeat `attempt` until the cache is available again."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await attempt()
            except CacheUnavailable:
                await asyncio.sleep(0.01)


class TestRedisCache(CacheSuite):
    @asynccontextmanager
    async def cache(self) -> AsyncIterator[Cache]:
        async with a_prefix() as prefix, a_cache(redis_url(), prefix) as cache:
            yield cache

    async def test_two_clients_with_one_prefix_share_values(self) -> None:
        async with (
            a_prefix() as prefix,
            a_cache(redis_url(), prefix) as one,
            a_cache(redis_url(), prefix) as other,
        ):
            await one.put("key", b"value", 60)
            assert await other.get("key") == b"value"

    async def test_prefixes_keep_deployments_apart(self) -> None:
        async with (
            a_prefix() as prefix,
            a_prefix() as another,
            a_cache(redis_url(), prefix) as one,
            a_cache(redis_url(), another) as other,
        ):
            await one.put("key", b"value", 60)
            assert await other.get("key") is None

    async def test_every_key_has_a_time_to_live(self) -> None:
        async with a_prefix() as prefix, a_cache(redis_url(), prefix) as cache, Redis.from_url(redis_url()) as client:
            await cache.put("key", b"value", 60)
            assert 0 < await client.pttl(f"{prefix}key") <= 60_000

    @pytest.mark.parametrize("fault", ["refuse", "stall"])
    async def test_an_outage_is_unavailable_and_heals_without_a_restart(self, fault: str) -> None:
        async with a_cache_behind_a_proxy() as (cache, proxy):
            await cache.put("key", b"before", 60)
            await getattr(proxy, fault)()
            with pytest.raises(CacheUnavailable):
                await cache.get("key")
            with pytest.raises(CacheUnavailable):
                await cache.put("key", b"during", 60)
            with pytest.raises(CacheUnavailable):
                await cache.delete("key")
            check = await cache.check()
            assert check.status == "warn"
            assert f"127.0.0.1:{proxy.port}" in check.detail

            await proxy.heal()
            await eventually(lambda: cache.put("key", b"after", 60))
            assert await cache.get("key") == b"after"
            assert (await cache.check()).status == "pass"

    async def test_connections_that_died_while_idle_go_unnoticed(self) -> None:
        async with a_cache_behind_a_proxy() as (cache, proxy):
            await asyncio.gather(*(cache.put(str(number), b"value", 60) for number in range(20)))
            await proxy.cut()
            found = await asyncio.gather(*(cache.get(str(number)) for number in range(20)))
            assert found == [b"value"] * 20

    async def test_a_crowd_during_a_stall_gets_its_answers_and_leaves_a_working_cache(self) -> None:
        async with a_cache_behind_a_proxy() as (cache, proxy):
            await cache.put("key", b"value", 60)
            await proxy.stall()
            results = await asyncio.gather(*(cache.get("key") for _ in range(200)), return_exceptions=True)
            assert {type(result) for result in results} == {CacheUnavailable}
            await proxy.heal()
            await eventually(lambda: cache.put("key", b"after", 60))
            assert await asyncio.gather(*(cache.get("key") for _ in range(200))) == [b"after"] * 200

    async def test_a_crowd_shares_a_bounded_number_of_connections(self) -> None:
        async with a_cache_behind_a_proxy() as (cache, proxy):
            await asyncio.gather(*(cache.put("key", b"value", 60) for _ in range(200)))
            assert 1 <= proxy.connections <= 16

    async def test_answers_too_late_for_one_question_never_answer_another(self) -> None:
        async with a_cache_behind_a_proxy() as (cache, proxy):
            for number in range(10):
                await cache.put(str(number), b"%d" % number, 60)
            await proxy.stall()
            late = await asyncio.gather(*(cache.get("0") for _ in range(10)), return_exceptions=True)
            assert {type(result) for result in late} == {CacheUnavailable}
            await proxy.heal()
            await eventually(lambda: cache.put("again", b"value", 60))
            assert await asyncio.gather(*(cache.get(str(n)) for n in range(10))) == [b"%d" % n for n in range(10)]


async def test_opening_succeeds_while_redis_is_away() -> None:
    async with FaultProxy("127.0.0.1", 9) as proxy:
        await proxy.refuse()
        async with a_cache(f"redis://127.0.0.1:{proxy.port}/0", "test:") as cache:
            with pytest.raises(CacheUnavailable, match="is unavailable"):
                await cache.get("key")


async def test_a_password_shows_neither_in_repr_nor_in_errors() -> None:
    async with FaultProxy("127.0.0.1", 9) as proxy:
        await proxy.refuse()
        async with a_cache(f"redis://ada:hunter2@127.0.0.1:{proxy.port}/0", "test:") as cache:
            with pytest.raises(CacheUnavailable) as caught:
                await cache.get("key")
            assert "hunter2" not in repr(cache) + str(caught.value) + (await cache.check()).detail


async def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not a Redis URL"):
        await RedisCache.open("memcached://127.0.0.1")


@pytest.mark.parametrize("fault", ["cut", "refuse"])
def test_lost_connections_are_noticed_on_uvloop_too(fault: str) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def lose_connections() -> None:
        async with a_cache_behind_a_proxy() as (cache, proxy):
            await asyncio.gather(*(cache.put(str(number), b"value", 60) for number in range(20)))
            await getattr(proxy, fault)()
            if fault == "refuse":
                for _ in range(20):
                    with pytest.raises(CacheUnavailable):
                        await cache.get("1")
                await proxy.heal()
            assert await asyncio.gather(*(cache.get(str(number)) for number in range(20))) == [b"value"] * 20

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(lose_connections())
