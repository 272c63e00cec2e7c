"""Purge: tells a CDN or another shared cache to forget.

Guarantees: when `purge` returns, the cache has taken the order. Repeating an order is harmless. Called from jobs, which
repeat it on `PurgeUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from orion_core.errors import Unavailable


class PurgeUnavailable(Unavailable):
    """The cache cannot be reached or refuses for now."""

    code = "purge.unavailable"


@runtime_checkable
class Purge(Protocol):
    """Orders a shared cache to forget."""

    async def purge(self, *, urls: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        """Forget the responses of `urls` and those tagged with `tags`; raises `PurgeUnavailable`."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
