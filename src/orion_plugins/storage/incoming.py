"""Bytes that come in over HTTP: counted and hashed as they pass, piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import attrs

from orion_core.contracts.storage import (
    Condition,
    Incomplete,
    NewUpload,
    ObjectTooLarge,
    Storage,
    StoredObject,
)
from orion_core.errors import Error, Malformed
from orion_core.ports.blobs import Blobs
from orion_plugins.storage.media_types import HEAD

Receive = Callable[[], Awaitable[Any]]
SILENCE = 60.0
"""Seconds that a client may stay silent."""


class ClientGone(Malformed):
    """The client left before its request was whole: nobody reads the answer."""

    code = "storage.client_gone"


async def body(receive: Receive) -> AsyncIterator[bytes]:
    """The pieces of a request's body; raises `ClientGone`."""
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                message = await receive()
        except TimeoutError:
            raise ClientGone("no bytes came for a minute") from None
        if message["type"] == "http.disconnect":
            raise ClientGone("the request ended too early")
        if piece := message.get("body", b""):
            yield piece
        if not message.get("more_body", False):
            return


@attrs.define
class _Passing:
    """What is known of the bytes that have passed."""

    limit: int
    size: int = 0
    digest: Any = attrs.field(factory=hashlib.sha256)

    async def through(self, first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        if first:
            yield self._count(first)
        async for piece in rest:
            yield self._count(piece)

    def _count(self, piece: bytes) -> bytes:
        self.size += len(piece)
        if self.size > self.limit:
            raise ObjectTooLarge(f"the object has more than {self.limit} bytes")
        self.digest.update(piece)
        return piece


@attrs.frozen
class Arrival:
    """What is known of an object before its bytes come. `length` is the announced number of bytes."""

    bucket: str
    key: str
    content_type: str
    length: int | None
    condition: Condition
    signature: str = attrs.field(default="", repr=False)


async def take(storage: Storage, blobs: Blobs, arrival: Arrival, pieces: AsyncIterator[bytes]) -> StoredObject:
    """Store `pieces` as the object that `arrival` describes; the memory needed is that of a few pieces.

    Whatever goes wrong, a client that leaves and a cancellation included, nothing stays behind.
    """
    first = b""
    async for piece in pieces:
        first += piece
        if len(first) >= HEAD:
            break
    upload = await storage.begin_upload(
        NewUpload(
            arrival.bucket,
            arrival.key,
            arrival.content_type,
            first[:HEAD],
            arrival.length,
            arrival.condition,
            arrival.signature,
        )
    )
    passing = _Passing(upload.max_size)
    try:
        async with contextlib.aclosing(passing.through(first, pieces)) as counted:
            await blobs.put(upload.blob_key, counted)
        if arrival.length not in (None, passing.size):
            raise Incomplete(f"{arrival.length} bytes were announced, and {passing.size} came")
        return await storage.finish_upload(upload.id, passing.size, passing.digest.hexdigest())
    except BaseException:
        await _abandon(storage, upload.id)
        raise


async def _abandon(storage: Storage, upload_id: Any) -> None:
    # What cannot be abandoned now expires, and is collected with its bytes.
    with contextlib.suppress(Error):
        await asyncio.shield(storage.abandon_upload(upload_id))
