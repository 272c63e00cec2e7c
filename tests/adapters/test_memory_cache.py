"""The cache in memory keeps the promises of its port, and its bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from orion_core.adapters.memory_cache import MemoryCache
from orion_core.ports.cache import Cache
from orion_core.testing.clock import MovableClock
from orion_core.testing.suites.cache import CacheSuite


class TestMemoryCache(CacheSuite):
    clock_can_move = True

    def setup_method(self) -> None:
        self.clock = MovableClock()

    @asynccontextmanager
    async def cache(self) -> AsyncIterator[Cache]:
        cache = MemoryCache(self.clock)
        yield cache
        await cache.aclose()

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)

    async def test_the_least_recently_used_entry_goes_first(self) -> None:
        cache = MemoryCache(self.clock, max_entries=2)
        await cache.put("a", b"1", 60)
        await cache.put("b", b"2", 60)
        assert await cache.get("a") == b"1"
        await cache.put("c", b"3", 60)
        assert [await cache.get(key) for key in ("a", "b", "c")] == [b"1", None, b"3"]

    async def test_its_bytes_are_bounded_too(self) -> None:
        cache = MemoryCache(self.clock, max_bytes=10_000)
        for number in range(100):
            await cache.put(str(number), bytes(1000), 60)
        kept = [number for number in range(100) if await cache.get(str(number)) is not None]
        assert kept == list(range(92, 100))

    async def test_a_value_larger_than_the_cache_is_not_kept(self) -> None:
        cache = MemoryCache(self.clock, max_bytes=1000)
        await cache.put("large", bytes(2000), 60)
        assert await cache.get("large") is None
        await cache.put("small", b"x", 60)
        assert await cache.get("small") == b"x"

    async def test_replacing_and_forgetting_give_the_room_back(self) -> None:
        cache = MemoryCache(self.clock, max_bytes=10_000)
        await cache.put("other", b"x", 60)
        for _ in range(100):
            await cache.put("key", bytes(5000), 60)
            await cache.delete("key")
            await cache.put("key", bytes(5000), 60)
            await cache.put("key", bytes(4000), 60)
        assert await cache.get("other") == b"x"
