"""Purging the response cache of the deployment's own gateways."""

from __future__ import annotations

from collections.abc import Sequence

from orion_core.ports.cache import CacheUnavailable
from orion_core.ports.purge import Purge, PurgeUnavailable
from orion_core.purge_marks import PurgeMarks, path_of


class CachePurge:
    """Keeps the port `Purge` by marks in the cache that the gateways share, then passes the order on to `further`.

    Of a URL the path counts: everything stored of it is forgotten, whatever the query. Gateways of other processes hear
    of it only through a cache on a server; with ``memory:`` the order reaches the gateway of this process.
    """

    def __init__(self, marks: PurgeMarks, further: Purge | None = None) -> None:
        self._marks = marks
        self._further = further

    async def purge(self, *, urls: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        """Order the gateways, and what stands in front of them, to forget; raises `PurgeUnavailable`."""
        try:
            await self._marks.purge(paths=[path_of(url) for url in urls], tags=tags)
        except CacheUnavailable as error:
            raise PurgeUnavailable(error.detail) from error
        if self._further is not None:
            await self._further.purge(urls=urls, tags=tags)

    async def aclose(self) -> None:
        """Close what the order is passed on through."""
        if self._further is not None:
            await self._further.aclose()
