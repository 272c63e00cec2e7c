"""Stored responses in the port `Cache`: found by request, forgotten by purge, bounded in size."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import attrs

from orion_core.ports.cache import Cache, CacheUnavailable
from orion_core.ports.clock import Clock
from orion_core.purge_marks import LONGEST, PurgeMarks
from orion_plugins.gateway import cache_policy as policy
from orion_plugins.gateway.cache_key import primary_key, variant_key
from orion_plugins.gateway.client import Headers

log = logging.getLogger("orion.gateway.cache")

REST: Final = 2.0
"""Seconds for which a cache that was away is not asked again."""
_MOST_VARYING: Final = 10
_PREFIX: Final = "response:"


@attrs.frozen
class Entry:
    """A stored response. `asked_ms` is when its request was sent, `born_ms` when it was as good as new at the origin;
    both are milliseconds since 1970."""

    status: int
    headers: Headers
    body: bytes
    asked_ms: int
    born_ms: int

    def age(self, now_ms: int) -> float:
        """Its age in seconds (RFC 9111, section 4.2.3)."""
        return max(0.0, (now_ms - self.born_ms) / 1000)

    def dump(self) -> bytes:
        """The entry as bytes."""
        fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        head = json.dumps([self.status, fields, self.asked_ms, self.born_ms]).encode()
        return b"1%08x" % len(head) + head + self.body

    @classmethod
    def load(cls, raw: bytes) -> Entry | None:
        """The entry in `raw`, or None when it is of another form."""
        try:
            if raw[:1] != b"1":
                return None
            end = 9 + int(raw[1:9], 16)
            status, fields, asked, born = json.loads(raw[9:end])
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        except (ValueError, TypeError):
            return None
        return cls(status, headers, raw[end:], asked, born)


class CacheStore:
    """The stored responses of one gateway process.

    What other gateways store in the same cache is found too. This process keeps at most `max_bytes` of its own making:
    beyond that what it stored longest ago goes first. While the cache is away everything raises `CacheUnavailable` at
    once, and is tried again after `REST` seconds.
    """

    def __init__(self, cache: Cache, clock: Clock, *, max_bytes: int, stale_if_error: float) -> None:
        self._cache = cache
        self._marks = PurgeMarks(cache, clock)
        self._max_bytes = max_bytes
        self._stale_if_error = stale_if_error
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._away_until = 0.0
        self._distrusted_ms = 0
        self.now_ms = self._marks.now_ms

    async def find(self, scope: Any, method: str, person: str) -> Entry | None:
        """What is stored for this request and was not purged; a HEAD is answered by what a GET left."""
        self._refuse_while_away()
        try:
            for each in ("GET", "HEAD") if method == "HEAD" else ("GET",):
                found = await self._find(scope, primary_key(scope, each, person))
                if found is not None:
                    return found
        except CacheUnavailable:
            self._note_away()
            raise
        return None

    async def put(self, scope: Any, method: str, person: str, entry: Entry) -> None:
        """Store `entry` as the answer to this request, unless it was purged meanwhile."""
        self._refuse_while_away()
        now_ms = self.now_ms()
        seconds = policy.keep(entry.headers, entry.age(now_ms), self._stale_if_error, LONGEST, now_ms / 1000)
        if seconds <= 0:
            return
        key = primary_key(scope, method, person)
        try:
            if await self._purged(scope, entry):
                return
            if names := policy.vary(entry.headers):
                names = tuple(sorted({*names, *_names(await self._cache.get(_PREFIX + key))}))
                if len(names) > _MOST_VARYING:
                    return
                await self._write(key, b"0" + ",".join(names).encode("latin-1"), LONGEST)
                key = variant_key(key, names, scope["headers"])
            await self._write(key, entry.dump(), seconds)
        except CacheUnavailable:
            self._note_away()
            raise

    async def forget(self, paths: Sequence[str]) -> None:
        """Forget all that is stored of these decoded paths.

        When the cache is away, this process trusts nothing that was stored until now.
        """
        try:
            self._refuse_while_away()
            await self._marks.purge(paths=paths)
        except CacheUnavailable:
            self._distrusted_ms = self.now_ms()
            self._note_away()

    async def _find(self, scope: Any, key: str) -> Entry | None:
        raw = await self._cache.get(_PREFIX + key)
        if raw is not None and (names := _names(raw)):
            raw = await self._cache.get(_PREFIX + variant_key(key, names, scope["headers"]))
        entry = None if raw is None else Entry.load(raw)
        # Read after the entry, so that a cache that drops what was used longest ago drops the entry before its mark.
        return None if entry is None or await self._purged(scope, entry) else entry

    async def _purged(self, scope: Any, entry: Entry) -> bool:
        if entry.asked_ms <= self._distrusted_ms:
            return True
        return entry.asked_ms <= await self._marks.newest(scope["path"], policy.tags(entry.headers))

    async def _write(self, key: str, value: bytes, seconds: float) -> None:
        key, size = _PREFIX + key, len(value) + len(key)
        self._bytes -= self._sizes.pop(key, 0)
        while self._sizes and self._bytes + size > self._max_bytes:
            oldest, theirs = self._sizes.popitem(last=False)
            self._bytes -= theirs
            await self._cache.delete(oldest)
        self._sizes[key] = size
        self._bytes += size
        await self._cache.put(key, value, seconds)

    def _refuse_while_away(self) -> None:
        if asyncio.get_running_loop().time() < self._away_until:
            raise CacheUnavailable("the cache was away a moment ago")

    def _note_away(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._away_until:
            self._away_until = now + REST
            log.warning("the cache is away: responses are neither stored nor taken from it for %g s", REST)


def _names(raw: bytes | None) -> tuple[str, ...]:
    """The request fields that the variants under a key differ by, if `raw` is a list of them."""
    return tuple(raw[1:].decode("latin-1").split(",")) if raw is not None and raw[:1] == b"0" else ()
