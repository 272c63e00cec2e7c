"""Blobs in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orion_core.adapters.memory_blobs import MemoryBlobs
from orion_core.ports.blobs import Blobs, BlobsUnavailable
from orion_core.testing.clock import MovableClock
from orion_core.testing.suites.blobs import BlobsSuite, pieces_of


class TestMemoryBlobs(BlobsSuite):
    @asynccontextmanager
    async def blobs(self) -> AsyncIterator[Blobs]:
        blobs = MemoryBlobs(MovableClock())
        yield blobs
        await blobs.aclose()


async def test_a_closed_store_is_unavailable() -> None:
    blobs = MemoryBlobs(MovableClock())
    await blobs.aclose()
    with pytest.raises(BlobsUnavailable):
        await blobs.put("a", pieces_of(b"x"))
    assert (await blobs.check()).status == "fail"
