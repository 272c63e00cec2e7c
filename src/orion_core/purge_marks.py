"""Marks of purges in the cache: what any process orders forgotten is forgotten by every gateway that shares the cache.

A purge does not look for stored responses. It leaves the time at which it was ordered under each path and tag, and a
response whose request had begun by then is no longer used. So an answer that was on its way while the order was given
is covered too, and one write is enough however many variants are stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from orion_core.ports.cache import Cache
from orion_core.ports.clock import Clock

LONGEST: Final = 86_400.0
"""Seconds for which a mark is kept; no response may be stored for longer."""
SKEW_MS: Final = 2_000
"""Milliseconds by which the clocks of two hosts may differ: so long after a purge nothing of it is stored."""


class PurgeMarks:
    """Writes and reads the marks in `cache`; every method raises `CacheUnavailable`."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    def now_ms(self) -> int:
        """The time of the clock, in milliseconds since 1970."""
        return int(self._clock.now().timestamp() * 1000)

    async def purge(self, *, paths: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        """Forget what is stored of these decoded `paths`, whatever its query, and what bears one of `tags`."""
        mark = str(self.now_ms() + SKEW_MS).encode()
        for key in _keys(paths, tags):
            await self._cache.put(key, mark, LONGEST + SKEW_MS / 1000)

    async def newest(self, path: str, tags: Sequence[str]) -> int:
        """The time up to which what was asked of `path` or bears one of `tags` is forgotten; 0 without a mark."""
        keys = _keys((path,), tags)
        if len(keys) == 1:
            return int(await self._cache.get(keys[0]) or 0)
        return max(int(found or 0) for found in await asyncio.gather(*(self._cache.get(key) for key in keys)))


def path_of(url: str) -> str:
    """The decoded path of `url`, which is absolute or begins with a slash; raises ValueError for what is neither."""
    parts = urlsplit(url)
    if not parts.path.startswith("/") and not (parts.netloc and not parts.path):
        raise ValueError(f"{url!r} has no path: write it as https://host/path or /path")
    return unquote(parts.path) or "/"


def _keys(paths: Sequence[str], tags: Sequence[str]) -> list[str]:
    named = [("path", path) for path in paths] + [("tag", tag) for tag in tags]
    return [f"purge:{kind}:{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:40]}" for kind, name in named]
