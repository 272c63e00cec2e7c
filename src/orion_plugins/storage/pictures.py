"""Pictures of people."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.storage import (
    MAX_PICTURE,
    AccessDenied,
    NoSuchPicture,
    Picture,
    PictureFile,
    PictureTooLarge,
    StoredPicture,
)
from orion_core.ids import new_id
from orion_core.ports.blobs import Blobs
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.storage.aftermath import Aftermath, picture_path
from orion_plugins.storage.pixels import Workshop
from orion_plugins.storage.rights import manages, refuse_erased
from orion_plugins.storage.tables import StoragePicture, StoragePictureSize
from orion_plugins.storage.uploads import new_blob_key

TEMPORARY = timedelta(days=1)


@attrs.frozen
class Pictures:
    """The operations on pictures."""

    db: Database
    clock: Clock
    blobs: Blobs
    workshop: Workshop
    aftermath: Aftermath

    async def put(self, picture: Picture) -> StoredPicture:
        actor = current().actor
        if not manages(actor) and not (actor.kind == "user" and actor.user_id == picture.owner):
            raise AccessDenied("a picture of somebody else is not yours to store")
        if len(picture.data) > MAX_PICTURE:
            raise PictureTooLarge(f"the picture has more than {MAX_PICTURE} bytes")
        sides = sorted(set(picture.sizes))
        squares = await self.workshop.squares(picture.data, sides)
        now = self.clock.now()
        row = StoragePicture(id=new_id(), owner_id=picture.owner, expires_at=now + TEMPORARY, created_at=now)
        sizes = [
            StoragePictureSize(
                id=new_id(),
                picture_id=row.id,
                side=square.side,
                blob_key=new_blob_key("pictures"),
                size=len(square.data),
                sha256=hashlib.sha256(square.data).hexdigest(),
                content_type=square.content_type,
            )
            for square in squares
        ]
        try:
            for size, square in zip(sizes, squares, strict=True):
                await self.blobs.put(size.blob_key, _one(square.data))
            async with self.db.transaction():
                await refuse_erased(picture.owner)
                await StoragePicture.insert(row)
                await StoragePictureSize.insert(*sizes)
        except (Exception, asyncio.CancelledError):
            # Nobody knows of these bytes, unless the answer to the commit was lost: the job looks before it removes.
            await self._give_up(sizes)
            raise
        return StoredPicture(row.id, tuple(sides), row.expires_at)

    async def _give_up(self, sizes: Sequence[StoragePictureSize]) -> None:
        try:
            await self.aftermath.discard([size.blob_key for size in sizes])
        except Exception:  # noqa: S110 - what is not discarded now is collected as an orphan
            pass

    async def open(self, picture_id: UUID, side: int) -> PictureFile:
        row = await StoragePicture.objects().where(StoragePicture.id == picture_id).first()
        size = None
        if row is not None and (row.expires_at is None or row.expires_at > self.clock.now()):
            wanted = (StoragePictureSize.picture_id == picture_id) & (StoragePictureSize.side == side)
            size = await StoragePictureSize.objects().where(wanted).first()
        if row is None or size is None:
            raise NoSuchPicture(f"there is no picture {picture_id} in the size {side}")
        return PictureFile(size.blob_key, size.size, size.sha256, size.content_type, row.created_at)

    async def use(self, person: UUID, picture_id: UUID | None, replaced_id: UUID | None) -> None:
        """In the running transaction: keep one picture of `person` for good, and free another."""
        if picture_id is not None:
            wanted = (StoragePicture.id == picture_id) & (StoragePicture.owner_id == person)
            await StoragePicture.update({StoragePicture.expires_at: None}).where(wanted)
        if replaced_id is not None and replaced_id != picture_id:
            wanted = (StoragePicture.id == replaced_id) & (StoragePicture.owner_id == person)
            rows = await StoragePicture.objects().where(wanted)
            await self.remove(rows)

    async def remove(self, rows: Sequence[StoragePicture], *, delay: timedelta = timedelta(0)) -> int:
        """In the running transaction: remove pictures in all sizes."""
        if rows:
            ids = [row.id for row in rows]
            sizes = (
                await StoragePictureSize.delete()
                .where(StoragePictureSize.picture_id.is_in(ids))
                .returning(StoragePictureSize.blob_key, StoragePictureSize.picture_id, StoragePictureSize.side)
            )
            await StoragePicture.delete().where(StoragePicture.id.is_in(ids))
            await self.aftermath.discard([size["blob_key"] for size in sizes], delay=delay)
            await self.aftermath.forget_paths([picture_path(size["picture_id"], size["side"]) for size in sizes])
        return len(rows)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
