"""Blobs: bytes under keys, as large as files are.

Guarantees: what `put` has returned from is durable and whole; a put that fails or is cancelled leaves nothing under its
key; a reader never sees half a blob. Keys are made by the service, are never reused, and contain letters, digits and
``/ - _ .`` only. Every operation raises `BlobsUnavailable` when the store is away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol, runtime_checkable

import attrs

from orion_core.errors import NotFound, Unavailable
from orion_core.ports.check import Check

CHUNK = 256 * 1024
"""The usual size of a piece, in bytes: memory is bounded by a few of them, however large the blob."""


class BlobsUnavailable(Unavailable):
    """The store cannot be reached, or does not take any more."""

    code = "blobs.unavailable"


class NoSuchBlob(NotFound):
    """There are no bytes under this key."""

    code = "blobs.missing"


@attrs.frozen
class BlobInfo:
    """A blob without its bytes: `size` in bytes, when it was `written`."""

    key: str
    size: int
    written: datetime


@runtime_checkable
class Blobs(Protocol):
    """A store of blobs."""

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Store the bytes of `pieces` under `key`, once they have all come, and return how many there were.

        An exception from `pieces` ends the put and is passed on; nothing is stored then.
        """
        ...

    def get(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `stop` (the end if None), piece by piece.

        Raises `NoSuchBlob` on the first step. Close the iterator when leaving early (`aclosing`).
        """
        ...

    async def delete(self, *keys: str) -> None:
        """Remove blobs; keys without a blob are passed over."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """All blobs whose keys begin with `prefix`, in no order; for reconciliation."""
        ...

    async def check(self) -> Check:
        """``pass``, or ``fail`` with the reason."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
