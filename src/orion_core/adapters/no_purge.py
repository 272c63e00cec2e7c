"""No shared cache to purge."""

from __future__ import annotations

from collections.abc import Sequence


class NoPurge:
    """Keeps the port `Purge` where no shared cache stands in front: nothing is to be forgotten."""

    async def purge(self, *, urls: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        """Nothing."""

    async def aclose(self) -> None:
        """Nothing is open."""
