"""The request of ORION's routes: as Litestar's, but a JSON body means one thing."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request

from orion_core.json_body import refuse_ambiguous

_CHECKED = "orion_checked_json"
_THREAD_FROM = 64 * 1024
"""Bytes from which looking through a body would hold up the loop."""


class JsonRequest(Request[Any, Any, Any]):
    """Refuses, before any route reads it, a JSON body with a repeated member or deeper than 64 levels (G5, G40)."""

    async def body(self) -> bytes:
        """The whole body; raises `Malformed`."""
        found = await super().body()
        if _CHECKED not in self.scope and _may_be_json(self.headers.get("content-type", "")):
            await self._check(found)
        return found

    async def json(self) -> Any:
        """The body as JSON; raises `Malformed`."""
        if _CHECKED not in self.scope:
            await self._check(await super().body())
        return await super().json()

    async def _check(self, text: bytes) -> None:
        self.scope[_CHECKED] = True  # type: ignore[literal-required]
        if len(text) < _THREAD_FROM:
            refuse_ambiguous(text)
        else:
            await asyncio.to_thread(refuse_ambiguous, text)


def _may_be_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind.endswith("json")
