"""Purging a shared cache by one HTTP call."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from orion_core.ports.purge import PurgeUnavailable

_SECONDS = 10.0


class HttpPurge:
    """Keeps the port `Purge` by ``POST <url>`` with the JSON object ``{"urls": [...], "tags": [...]}``.

    A user and password in the URL are sent as HTTP Basic. Any 2xx is an order taken; all else is `PurgeUnavailable`.
    Redirects are not followed, and proxies of the environment are not used.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(trust_env=False, timeout=_SECONDS)

    async def purge(self, *, urls: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        """Order the cache to forget; raises `PurgeUnavailable`."""
        if not urls and not tags:
            return
        try:
            answer = await self._client.post(self._url, json={"urls": list(urls), "tags": list(tags)})
        except httpx.HTTPError as error:
            # The message may hold the URL, and the URL a password.
            raise PurgeUnavailable(f"the purge call failed: {type(error).__name__}") from None
        if not answer.is_success:
            raise PurgeUnavailable(f"the purge call was answered with {answer.status_code}")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()
