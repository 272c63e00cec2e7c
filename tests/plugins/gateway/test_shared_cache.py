"""Two gateways with one cache on a server: what one stores the other finds, what one forgets both forget."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cache_kit import Front, Origin
from redis.asyncio import Redis
from typer.testing import CliRunner

from orion_core.adapters.cache_purge import CachePurge
from orion_core.adapters.redis_cache import RedisCache
from orion_core.cli import command_line
from orion_core.testing.faults import FaultProxy, through
from orion_core.testing.services import redis_url


@contextlib.asynccontextmanager
async def caches(*urls: str) -> AsyncIterator[list[RedisCache]]:
    """A client for each URL, with one key prefix that is emptied at the end."""
    prefix = f"test:{uuid4().hex}:"
    opened = [await RedisCache.open(f"{url}{'&' if urlsplit(url).query else '?'}prefix={prefix}") for url in urls]
    try:
        yield opened
    finally:
        for cache in opened:
            await cache.aclose()
        async with Redis.from_url(redis_url()) as client:
            async for key in client.scan_iter(f"{prefix}*", count=1000):
                await client.delete(key)


async def test_what_one_gateway_stores_another_finds_and_what_one_forgets_both_forget() -> None:
    """G70: with Redis."""
    async with caches(redis_url(), redis_url()) as (one, other):
        origin = Origin(more=(("cache-tag", "red"), ("vary", "accept-language")))
        first, second = Front(origin, one), Front(origin, other)
        await first.ask(accept_language="de")
        assert (await second.ask(accept_language="de")).cache == "hit"
        await second.ask(method="PUT", body=b"x")
        assert (await first.ask(accept_language="de")).cache == "miss"
        for front in (first, second):
            front.pass_(3)
        await first.ask(accept_language="de")
        assert (await second.ask(accept_language="de")).cache == "hit"
        await CachePurge(first.marks).purge(tags=["red"])
        assert (await second.ask(accept_language="de")).cache == "miss"


async def test_when_redis_goes_and_comes_back_no_request_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """G70: bypassed while it is away, used again without a restart."""
    monkeypatch.setattr("orion_plugins.gateway.cache_store.REST", 0.0)
    parts = urlsplit(redis_url())
    async with (
        FaultProxy(parts.hostname or "127.0.0.1", parts.port or 6379) as proxy,
        caches(through(redis_url(), proxy)) as (cache,),
    ):
        front = Front(Origin(), cache)
        assert [(await front.ask()).cache for _ in range(2)] == ["miss", "hit"]
        await proxy.refuse()
        assert [(await front.ask()).status for _ in range(3)] == [200] * 3
        await proxy.heal()
        assert "hit" in [(await front.ask()).cache for _ in range(3)]


def test_the_command_line_purges_through_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G70: ``orion gateway purge``; a cache in memory is another process's, and saying "done" would be a lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path))
    command = ["gateway", "purge", "--tag", "t", "--url", "/a"]
    refused = CliRunner().invoke(command_line(), command)
    assert (refused.exit_code, "POST /api/v1/gateway/admin/cache/purge" in refused.output) == (1, True)
    nothing = CliRunner().invoke(command_line(), ["gateway", "purge"])
    assert (nothing.exit_code, "name 1 to 1000 urls and tags" in nothing.output) == (1, True)

    prefix = f"test:{uuid4().hex}:"
    url = redis_url()
    monkeypatch.setenv("ORION_CACHE_URL", f"{url}{'&' if urlsplit(url).query else '?'}prefix={prefix}")
    done = CliRunner().invoke(command_line(), command)
    assert done.exit_code == 0, done.output
    import redis

    with redis.Redis.from_url(url) as client:
        marks = list(client.scan_iter(f"{prefix}*", count=1000))
        client.delete(*marks)
    assert sorted(key.removeprefix(prefix.encode()).split(b":")[1] for key in marks) == [b"path", b"tag"]
