"""A cache in the memory of this process."""

from __future__ import annotations

import time
from collections import OrderedDict

from orion_core.ports.cache import CacheUnavailable
from orion_core.ports.check import Check
from orion_core.ports.clock import Clock

_ENTRY_OVERHEAD = 200


class MemoryCache:
    """Keeps the port `Cache` inside one process, for deployments of one process.

    Bounded: beyond `max_entries`, or about `max_bytes` of keys and values, the least recently used go first.
    """

    def __init__(self, clock: Clock, *, max_entries: int = 100_000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        """The value under `key`, or None."""
        self._refuse_when_closed()
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expires = entry
        if expires <= self._time():
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Keep `value` under `key` for `ttl` seconds; with no time left, forget `key`."""
        self._refuse_when_closed()
        self._forget(key)
        if ttl <= 0:
            return
        self._entries[key] = (value, self._time() + ttl)
        self._bytes += _size(key, value)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._forget(next(iter(self._entries)))

    async def delete(self, *keys: str) -> None:
        """Forget `keys`."""
        self._refuse_when_closed()
        for key in keys:
            self._forget(key)

    async def check(self) -> Check:
        """``pass`` until closed."""
        return Check("warn", "the cache is closed") if self._closed else Check("pass")

    async def aclose(self) -> None:
        """Forget everything."""
        self._closed = True
        self._entries.clear()
        self._bytes = 0

    def _time(self) -> float:
        # A time of day may be set back and would keep a value past its time; the clock's own advances still count.
        return time.monotonic() + self._clock.offset.total_seconds()

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[0])

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise CacheUnavailable("the cache is closed")


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _ENTRY_OVERHEAD
