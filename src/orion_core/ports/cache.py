"""The cache: short-lived bytes shared by all processes of a deployment.

Guarantees: a value is never returned after its time to live; losing everything at any moment is
allowed, so nothing may live here alone. Every operation raises `CacheUnavailable` when the cache is away, quickly.
"""

from __future__ import annotations

from typing import Protocol

from orion_core.errors import Unavailable
from orion_core.ports.check import Check


class CacheUnavailable(Unavailable):
    """The cache cannot be reached."""

    code = "cache.unavailable"
    private = True


class Cache(Protocol):
    """A map from text keys to bytes with times to live in seconds."""

    async def get(self, key: str) -> bytes | None:
        """The value under `key`, or None."""
        ...

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Keep `value` under `key` for `ttl` seconds from now."""
        ...

    async def delete(self, *keys: str) -> None:
        """Forget `keys`."""
        ...

    async def check(self) -> Check:
        """``pass``, or ``warn`` with the reason: a service works on without its cache."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
