"""A streamed request body that may be sent a second time."""

from __future__ import annotations

from collections.abc import AsyncIterable

from orion_plugins.gateway.client import Gone

BOUND = 64 * 1024


class Replay:
    """The parts of `source`, kept while they are read, so that they can be sent again byte for byte.

    Iterate it once for each attempt. `possible` is False as soon as more than `bound` bytes were read, or parts were
    dropped: then the rest can still be read, but the beginning is gone.
    """

    def __init__(self, source: AsyncIterable[bytes], bound: int = BOUND) -> None:
        self.possible = True
        self._source = aiter(source)
        self._bound = bound
        self._kept: list[bytes] = []
        self._size = 0
        self._ended = False

    def __aiter__(self) -> _Pass:
        return _Pass(self)

    def watching(self, gone: Gone) -> Gone:
        """`gone`, which drops the parts that it meets while it waits for the client to leave."""

        async def watch() -> None:
            if not self._ended:
                self.possible = False
            await gone()

        return watch

    async def part(self, place: int) -> bytes:
        """The part at `place`, counted from the beginning; raises StopAsyncIteration after the last one."""
        if place < len(self._kept):
            return self._kept[place]
        try:
            part = await anext(self._source)
        except StopAsyncIteration:
            self._ended = True
            raise
        self._size += len(part)
        if self._size > self._bound:
            self.possible = False
            self._kept.clear()
        elif self.possible:
            self._kept.append(part)
        return part


class _Pass:
    """One reading of the whole body."""

    __slots__ = ("_place", "_replay")

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._place = 0

    def __aiter__(self) -> _Pass:
        return self

    async def __anext__(self) -> bytes:
        part = await self._replay.part(self._place)
        self._place += 1
        return part
