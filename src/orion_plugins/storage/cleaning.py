"""Reconciliation: what has expired, bytes without metadata, metadata without bytes; and forgetting a person."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import attrs

from orion_core.contracts.storage import Collected
from orion_core.ports.blobs import Blobs
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.storage.aftermath import Aftermath
from orion_plugins.storage.objects import Objects
from orion_plugins.storage.pictures import Pictures
from orion_plugins.storage.tables import (
    StorageBucket,
    StorageGrant,
    StorageObject,
    StoragePicture,
    StoragePictureSize,
    StorageRead,
    StorageUpload,
)

log = logging.getLogger("orion.storage")
AGE = timedelta(days=1)
"""How old bytes without metadata must be: younger ones may belong to an upload that is still running."""
_BATCH = 200


@attrs.frozen
class Cleaning:
    """The jobs that keep metadata and bytes the same."""

    db: Database
    clock: Clock
    blobs: Blobs
    aftermath: Aftermath
    objects: Objects
    pictures: Pictures

    async def collect(self, dry_run: bool) -> Collected:
        """Remove what has expired and what belongs to nothing, or only count it. Safe beside running uploads."""
        uploads = await self._uploads(dry_run)
        pictures = await self._pictures(dry_run)
        objects = await self._objects(dry_run)
        orphans, missing = await self._compare(dry_run)
        for each in missing:
            log.error("the bytes of an object are gone", extra={"object": each})
        return Collected(uploads, pictures, objects, orphans, tuple(missing))

    async def _uploads(self, dry_run: bool) -> int:
        expired = StorageUpload.expires_at <= self.clock.now()
        if dry_run:
            return int(await StorageUpload.count().where(expired))
        removed = 0
        while True:
            async with self.db.transaction():
                rows = await StorageUpload.select(StorageUpload.id).where(expired).limit(_BATCH)
                if not rows:
                    return removed
                gone = (
                    await StorageUpload.delete()
                    .where(StorageUpload.id.is_in([row["id"] for row in rows]))
                    .returning(StorageUpload.blob_key)
                )
                removed += len(gone)
                await self.aftermath.discard([row["blob_key"] for row in gone])

    async def _pictures(self, dry_run: bool) -> int:
        expired = StoragePicture.expires_at <= self.clock.now()
        if dry_run:
            return int(await StoragePicture.count().where(expired))
        removed = 0
        while True:
            async with self.db.transaction():
                rows = await StoragePicture.objects().where(expired).limit(_BATCH)
                if not rows:
                    return removed
                removed += await self.pictures.remove(rows)

    async def _objects(self, dry_run: bool) -> int:
        removed = 0
        for bucket in await StorageBucket.objects().where(StorageBucket.expire_days > 0):
            before = self.clock.now() - timedelta(days=bucket.expire_days)
            old = (StorageObject.bucket_id == bucket.id) & (StorageObject.modified_at <= before)
            if dry_run:
                removed += await StorageObject.count().where(old)
                continue
            while True:
                async with self.db.transaction():
                    rows = await StorageObject.objects().where(old).limit(_BATCH)
                    removed += await self.objects.remove(bucket, rows)
                if not rows:
                    break
        return removed

    async def _compare(self, dry_run: bool) -> tuple[int, list[str]]:
        """Bytes without metadata are removed, metadata without bytes are named."""
        # Metadata first: what is committed meanwhile has its bytes already, and is not looked for.
        known = await self._known()
        before = self.clock.now() - AGE
        orphans = 0
        batch: list[str] = []
        async with aclosing(cast(Any, self.blobs.list())) as found:
            async for info in found:
                if known.pop(info.key, None) is None and info.written <= before:
                    batch.append(info.key)
                    if len(batch) >= _BATCH:
                        orphans += await self._orphans(batch, dry_run)
                        batch = []
        orphans += await self._orphans(batch, dry_run)
        missing = []
        blob_keys = list(known)
        for at in range(0, len(blob_keys), _BATCH):
            # What was removed while the store was being read is not missed.
            missing += [known[key] for key in await self.needed(blob_keys[at : at + _BATCH])]
        return orphans, sorted(missing)

    async def _known(self) -> dict[str, str]:
        names = {row["id"]: row["name"] for row in await StorageBucket.select(StorageBucket.id, StorageBucket.name)}
        known: dict[str, str] = {}
        last = UUID(int=0)
        while (
            rows := await StorageObject.select(
                StorageObject.id, StorageObject.bucket_id, StorageObject.key, StorageObject.blob_key
            )
            .where(StorageObject.id > last)
            .order_by(StorageObject.id)
            .limit(1000)
        ):
            last = rows[-1]["id"]
            known |= {row["blob_key"]: f"{names.get(row['bucket_id'])}/{row['key'].decode()}" for row in rows}
        for row in await StoragePictureSize.select(
            StoragePictureSize.blob_key, StoragePictureSize.picture_id, StoragePictureSize.side
        ):
            known[row["blob_key"]] = f"picture {row['picture_id']} in {row['side']}"
        return known

    async def _orphans(self, blob_keys: Sequence[str], dry_run: bool) -> int:
        needed = await self.needed(blob_keys)
        lost = [key for key in blob_keys if key not in needed]
        if not dry_run and lost:
            await self.blobs.delete(*lost)
        return len(lost)

    async def needed(self, blob_keys: Sequence[str]) -> set[str]:
        """Those of `blob_keys` to which something refers: an object, a picture, or an upload that still runs."""
        found: set[str] = set()
        for table in (StorageObject, StoragePictureSize, StorageUpload):
            if blob_keys:
                rows = await table.select(table.blob_key).where(table.blob_key.is_in(list(blob_keys)))
                found |= {row["blob_key"] for row in rows}
        return found

    async def remove_blobs(self, blob_keys: Sequence[str]) -> None:
        """Remove bytes, unless something refers to them (again)."""
        needed = await self.needed(blob_keys)
        await self.blobs.delete(*(key for key in blob_keys if key not in needed))

    async def forget_person(self, person: UUID) -> None:
        """Remove all that belongs to a person, some of it at a time; buckets with things of others in them stay."""
        while True:
            async with self.db.transaction():
                rows = await StorageObject.objects().where(StorageObject.owner_id == person).limit(_BATCH)
                if not rows:
                    break
                ids = list({row.bucket_id for row in rows})
                for bucket in await StorageBucket.objects().where(StorageBucket.id.is_in(ids)):
                    own = [row for row in rows if row.bucket_id == bucket.id]
                    await self.objects.remove(bucket, own, at_once=True)
        async with self.db.transaction():
            await self.pictures.remove(await StoragePicture.objects().where(StoragePicture.owner_id == person))
            uploads = (
                await StorageUpload.delete().where(StorageUpload.owner_id == person).returning(StorageUpload.blob_key)
            )
            await self.aftermath.discard([row["blob_key"] for row in uploads], delay=timedelta(0))
            await StorageGrant.delete().where(StorageGrant.subject == f"user:{person}")
            # That something was read, and by which id, stays; names of buckets and of requests were chosen by people.
            await StorageRead.update({StorageRead.correlation_id: ""}).where(StorageRead.actor == f"user:{person}")
            await StorageRead.update(
                {StorageRead.owner_id: None, StorageRead.bucket: "", StorageRead.correlation_id: ""}
            ).where(StorageRead.owner_id == person)
            # They belong to nobody first: uploads that are being finished hold the rows, and are then seen.
            orphaned = StorageBucket.update({StorageBucket.owner_id: None}).where(StorageBucket.owner_id == person)
            for row in await orphaned.returning(StorageBucket.id):
                if not await StorageObject.exists().where(StorageObject.bucket_id == row["id"]):
                    await StorageBucket.delete().where(StorageBucket.id == row["id"])
                    await StorageGrant.delete().where(StorageGrant.bucket_id == row["id"])
