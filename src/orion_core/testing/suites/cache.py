"""What every cache must do."""

from __future__ import annotations

import abc
import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest

from orion_core.ports.cache import Cache, CacheUnavailable

_LONG = 600.0


class CacheSuite(abc.ABC):
    """The conformance suite of the port `Cache`: a test class subclasses it and says how to open one.

    `clock_can_move` declares that `advance` moves the time the cache goes by; otherwise times to live are really
    waited for.
    """

    clock_can_move: bool = False

    @abc.abstractmethod
    def cache(self) -> AbstractAsyncContextManager[Cache]:
        """An open, empty cache of its own, closed at the end."""

    def advance(self, by: timedelta) -> None:
        """Move the clock of every cache of this test; to be given where `clock_can_move`."""
        raise NotImplementedError("advance: give it where clock_can_move is declared")

    async def test_a_value_comes_back_as_it_was_put(self) -> None:
        async with self.cache() as cache:
            for value in (b"", b"text", bytes(range(256)), b"x" * 1_000_000):
                await cache.put("key", value, _LONG)
                found = await cache.get("key")
                assert found == value
                assert type(found) is bytes

    async def test_an_unknown_key_has_no_value(self) -> None:
        async with self.cache() as cache:
            assert await cache.get("unknown") is None

    async def test_a_later_value_replaces_an_earlier_one(self) -> None:
        async with self.cache() as cache:
            await cache.put("key", b"earlier", _LONG)
            await cache.put("key", b"later", _LONG)
            assert await cache.get("key") == b"later"

    @pytest.mark.parametrize(
        "key",
        ["", "a b", "a\r\nb", "grüße/\N{SNOWMAN}", "a:b*?[c]", "k" * 2000],
        ids=["empty", "blank", "line break", "not ASCII", "wildcards", "long"],
    )
    async def test_any_text_is_a_key(self, key: str) -> None:
        async with self.cache() as cache:
            await cache.put(key, b"value", _LONG)
            await cache.put(key + "2", b"other", _LONG)
            assert await cache.get(key) == b"value"
            await cache.delete(key)
            assert await cache.get(key) is None
            assert await cache.get(key + "2") == b"other"

    async def test_several_keys_are_forgotten_at_once(self) -> None:
        async with self.cache() as cache:
            for key in ("a", "b", "c"):
                await cache.put(key, b"value", _LONG)
            await cache.delete("a", "unknown", "c", "a")
            assert [await cache.get(key) for key in ("a", "b", "c")] == [None, b"value", None]

    async def test_forgetting_nothing_changes_nothing(self) -> None:
        async with self.cache() as cache:
            await cache.put("key", b"value", _LONG)
            await cache.delete()
            assert await cache.get("key") == b"value"

    async def test_a_value_is_gone_after_its_time_to_live(self) -> None:
        async with self.cache() as cache:
            await cache.put("lasting", b"value", _LONG)
            if self.clock_can_move:
                await cache.put("short", b"value", 60)
                self.advance(timedelta(seconds=59))
                assert await cache.get("short") == b"value"
                self.advance(timedelta(seconds=1))
                assert await cache.get("short") is None
            else:
                await cache.put("short", b"value", 0.03)
                await self._until_gone(cache, "short")
            assert await cache.get("lasting") == b"value"

    async def test_a_later_put_sets_the_time_to_live_anew(self) -> None:
        async with self.cache() as cache:
            for first, second in (("longer", "shorter"), ("shorter", "longer")):
                times = {"longer": _LONG, "shorter": 60.0 if self.clock_can_move else 0.03}
                await cache.put(second, b"first", times[first])
                await cache.put(second, b"second", times[second])
            if self.clock_can_move:
                self.advance(timedelta(seconds=60))
            await self._until_gone(cache, "shorter")
            assert await cache.get("longer") == b"second"

    async def test_reading_does_not_prolong_the_time_to_live(self) -> None:
        async with self.cache() as cache:
            if self.clock_can_move:
                await cache.put("key", b"value", 60)
                for _ in range(3):
                    assert await cache.get("key") == b"value"
                    self.advance(timedelta(seconds=20))
                assert await cache.get("key") is None
            else:
                await cache.put("key", b"value", 0.03)
                await self._until_gone(cache, "key")

    @pytest.mark.parametrize("ttl", [0, -1, 0.0001])
    async def test_a_value_with_no_time_left_is_not_kept(self, ttl: float) -> None:
        async with self.cache() as cache:
            await cache.put("key", b"before", _LONG)
            await cache.put("key", b"after", ttl)
            await self._until_gone(cache, "key")

    async def test_concurrent_use_mixes_nothing_up(self) -> None:
        async def one(number: int) -> None:
            key, value = f"key {number}", b"%d" % number * (number + 1)
            await cache.put(key, value, _LONG)
            assert await cache.get(key) == value
            await cache.delete(key)
            assert await cache.get(key) is None

        async with self.cache() as cache:
            await asyncio.gather(*(one(number) for number in range(200)))

    async def test_a_cancelled_operation_leaves_the_others_right(self) -> None:
        async with self.cache() as cache:
            for number in range(20):
                await cache.put(str(number), b"%d" % number, _LONG)
            tasks = [asyncio.create_task(cache.get(str(number))) for number in range(20)]
            for turns, task in enumerate(tasks):
                for _ in range(turns % 5):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for number in range(20):
                assert await cache.get(str(number)) == b"%d" % number

    async def test_a_reachable_cache_passes_its_check(self) -> None:
        async with self.cache() as cache:
            assert (await cache.check()).status == "pass"

    async def test_a_closed_cache_is_unavailable(self) -> None:
        async with self.cache() as cache:
            await cache.put("key", b"value", _LONG)
            await cache.aclose()
            await cache.aclose()
            with pytest.raises(CacheUnavailable):
                await cache.get("key")
            with pytest.raises(CacheUnavailable):
                await cache.put("key", b"value", _LONG)
            with pytest.raises(CacheUnavailable):
                await cache.delete("key")
            assert (await cache.check()).status == "warn"

    async def _until_gone(self, cache: Cache, key: str) -> None:
        async with asyncio.timeout(10):
            while True:
                if await cache.get(key) is None:
                    return
                await asyncio.sleep(0.005)
