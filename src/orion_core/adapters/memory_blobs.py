"""Blobs in the memory of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from orion_core.adapters._blobs import check_key
from orion_core.ports.blobs import CHUNK, BlobInfo, BlobsUnavailable, NoSuchBlob
from orion_core.ports.check import Check
from orion_core.ports.clock import Clock


class MemoryBlobs:
    """Keeps the port `Blobs` inside one process, for tests and demonstrations: nothing survives the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._blobs: dict[str, tuple[BlobInfo, bytes]] = {}
        self._closed = False

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Store `pieces` under `key` and return how many bytes there were."""
        self._refuse_when_closed()
        check_key(key)
        data = bytearray()
        async for piece in pieces:
            data += piece
        self._blobs[key] = BlobInfo(key, len(data), self._clock.now()), bytes(data)
        return len(data)

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, piece by piece; raises `NoSuchBlob`."""
        self._refuse_when_closed()
        if check_key(key) not in self._blobs:
            raise NoSuchBlob(f"there is no blob {key}")
        _, data = self._blobs[key]
        stop = len(data) if stop is None else min(stop, len(data))
        for at in range(start, stop, CHUNK):
            # What only ever yields would keep every other task waiting.
            await asyncio.sleep(0)
            yield data[at : min(at + CHUNK, stop)]

    async def delete(self, *keys: str) -> None:
        """Remove blobs."""
        self._refuse_when_closed()
        for key in keys:
            self._blobs.pop(check_key(key), None)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """All blobs whose keys begin with `prefix`."""
        self._refuse_when_closed()
        for info, _ in list(self._blobs.values()):
            if info.key.startswith(prefix):
                yield info

    async def check(self) -> Check:
        """``pass`` until closed."""
        return Check("fail", "the store of blobs is closed") if self._closed else Check("pass")

    async def aclose(self) -> None:
        """Forget everything."""
        self._closed = True
        self._blobs.clear()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise BlobsUnavailable("the store of blobs is closed")
