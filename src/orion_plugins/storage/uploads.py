"""Uploads: the decision before the bytes, the record after them; and objects that take over the bytes of others."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import attrs

from orion_core import codec
from orion_core.contracts.storage import (
    MAX_PICTURE,
    Condition,
    ConditionFailed,
    CopyObject,
    NewUpload,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    ObjectCreated,
    ObjectMoved,
    ObjectReplaced,
    ObjectTooLarge,
    PutObject,
    StoredObject,
    TypeNotAllowed,
    Upload,
)
from orion_core.errors import Error
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.ports.blobs import Blobs
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.ports.database_errors import UniqueViolation
from orion_plugins.storage import media_types
from orion_plugins.storage.aftermath import Aftermath
from orion_plugins.storage.dialect import shared
from orion_plugins.storage.keys import to_key
from orion_plugins.storage.objects import Objects, bucket_named, check, described, row_of
from orion_plugins.storage.rights import admitted, caller, refuse_erased
from orion_plugins.storage.signing import verify
from orion_plugins.storage.tables import StorageBucket, StorageObject, StorageUpload

LIFETIME = timedelta(days=1)
_TRIES = 5


@attrs.frozen
class _Way:
    """From where to where something is copied or moved."""

    source_bucket: StorageBucket
    source_key: str
    bucket: StorageBucket
    key: str


@attrs.frozen
class Uploads:
    """The operations that bring objects into being."""

    db: Database
    events: Events
    clock: Clock
    blobs: Blobs
    keyring: Keyring
    aftermath: Aftermath
    objects: Objects

    async def begin(self, upload: NewUpload) -> Upload:
        key = to_key(upload.key)
        now = self.clock.now()
        if upload.signature:
            claims = verify(upload.signature, "PUT", upload.bucket, key, self.keyring.encryption, now)
            bucket = await bucket_named(upload.bucket)
            owner, only = claims.by, claims.content_type
            await refuse_erased(owner)
            limit = min(bucket.max_size, claims.max_size or bucket.max_size)
        else:
            bucket = await admitted(upload.bucket, "write", key.encode())
            owner, only, limit = _person(), "", bucket.max_size
        content_type = media_types.declared(upload.content_type, key)
        found_type = media_types.found(upload.head)
        if only and content_type != only:
            raise TypeNotAllowed(f"the URL was signed for {only} and not for {content_type}")
        media_types.check(content_type, found_type, key, json.loads(bucket.allowed_types))
        if upload.length is not None and upload.length > limit:
            raise too_large(limit)
        if upload.condition != Condition():
            check(upload.condition, await row_of(bucket, key))
        upload_id = new_id()
        row = StorageUpload(
            id=upload_id,
            bucket_id=bucket.id,
            key=key.encode(),
            owner_id=owner,
            blob_key=new_blob_key("objects"),
            content_type=content_type,
            found_type=found_type,
            max_size=limit,
            condition=codec.dumps(upload.condition, Condition),
            expires_at=now + LIFETIME,
        )
        try:
            await StorageUpload.insert(row)
        except asyncio.CancelledError:
            # It may have been inserted, and nobody knows of it.
            await asyncio.shield(StorageUpload.delete().where(StorageUpload.id == upload_id).run())
            raise
        return Upload(upload_id, row.blob_key, limit)

    async def finish(self, upload_id: UUID, size: int, sha256: str) -> StoredObject:
        async with self.db.transaction():
            gone = (
                await StorageUpload.delete()
                .where((StorageUpload.id == upload_id) & (StorageUpload.expires_at > self.clock.now()))
                .returning(*StorageUpload.all_columns())
            )
            if not gone:
                raise NoSuchUpload(f"the upload {upload_id} is finished, abandoned or expired")
            upload = StorageUpload(**gone[0])
            if size > upload.max_size:
                raise too_large(upload.max_size)
            await refuse_erased(upload.owner_id)
            bucket = await self._held(upload.bucket_id)
            content = {
                "owner_id": upload.owner_id,
                "blob_key": upload.blob_key,
                "size": size,
                "sha256": sha256,
                "content_type": upload.content_type,
                "found_type": upload.found_type,
            }
            condition = codec.loads(upload.condition, Condition)
            return await self._place(bucket, upload.key.decode(), content, condition)

    async def abandon(self, upload_id: UUID) -> None:
        async with self.db.transaction():
            gone = await StorageUpload.delete().where(StorageUpload.id == upload_id).returning(StorageUpload.blob_key)
            # Without its row it was finished, and the bytes belong to an object.
            await self.aftermath.discard([row["blob_key"] for row in gone], delay=timedelta(0))

    async def put(self, put: PutObject) -> StoredObject:
        if len(put.data) > MAX_PICTURE:
            raise too_large(MAX_PICTURE)
        head = put.data[: media_types.HEAD]
        upload = await self.begin(NewUpload(put.bucket, put.key, put.content_type, head, len(put.data), put.condition))
        try:
            await self.blobs.put(upload.blob_key, _one(put.data))
            return await self.finish(upload.id, len(put.data), hashlib.sha256(put.data).hexdigest())
        except BaseException:
            # What is not abandoned now is collected later.
            with contextlib.suppress(Error):
                await self.abandon(upload.id)
            raise

    async def copy(self, copy: CopyObject) -> StoredObject:
        way = await self._way(copy, "read")
        owner = _person()
        async with self.db.transaction():
            row, _ = await self._ends(way)
            return await self._place(way.bucket, way.key, {**_content(row), "owner_id": owner}, copy.condition)

    async def move(self, move: CopyObject) -> StoredObject:
        way = await self._way(move, "write")
        for _ in range(_TRIES):
            with contextlib.suppress(UniqueViolation):  # somebody was faster to make the target
                async with self.db.transaction():
                    return await self._move(way, move.condition)
        raise ConditionFailed("others write under this key all the time: try again later")

    async def _move(self, way: _Way, condition: Condition) -> StoredObject:
        row, target = await self._ends(way)
        check(condition, target)
        if target is not None:
            if target.id == row.id:
                return StoredObject(described(row, way.bucket.name), False)
            await self.objects.remove(way.bucket, [target])
        columns: dict[Any, Any] = {
            "bucket_id": way.bucket.id,
            "key": way.key.encode(),
            "version": row.version + 1,
            "modified_at": later(self.clock.now(), target),
        }
        changed = StorageObject.update(columns).where(StorageObject.id == row.id)
        moved = StorageObject(**(await changed.returning(*StorageObject.all_columns()))[0])
        await self.events.publish(
            ObjectMoved(row.id, way.source_bucket.name, way.source_key, way.bucket.name, way.key, row.owner_id)
        )
        await self.aftermath.forget(way.source_bucket, (way.source_key, row.sha256))
        await self.aftermath.forget(way.bucket, (way.key, ""))
        return StoredObject(described(moved, way.bucket.name), target is None)

    async def _way(self, copy: CopyObject, right: Literal["read", "write"]) -> _Way:
        source_key, key = to_key(copy.source_key, "source_key"), to_key(copy.key)
        return _Way(
            await admitted(copy.source_bucket, right, source_key.encode()),
            source_key,
            await admitted(copy.bucket, "write", key.encode()),
            key,
        )

    async def _ends(self, way: _Way) -> tuple[StorageObject, StorageObject | None]:
        """The object at the beginning of `way`, and the one at its end: nobody changes them until the transaction ends.

        The bytes of the first are about to have a second owner. Both are held in the same order by everybody.
        """
        await self._held(way.bucket.id)
        source, target = (way.source_bucket.id, way.source_key.encode()), (way.bucket.id, way.key.encode())
        held: dict[Any, StorageObject] = {}
        for bucket_id, key in sorted({source, target}):
            rows = await (
                StorageObject.update({StorageObject.version: StorageObject.version})
                .where((StorageObject.bucket_id == bucket_id) & (StorageObject.key == key))
                .returning(*StorageObject.all_columns())
            )
            if rows:
                held[bucket_id, key] = StorageObject(**rows[0])
        if source not in held:
            raise NoSuchObject(f"there is no object {way.source_key} in {way.source_bucket.name}")
        row = held[source]
        if row.size > way.bucket.max_size:
            raise too_large(way.bucket.max_size)
        media_types.check(row.content_type, row.found_type, way.key, json.loads(way.bucket.allowed_types))
        return row, held.get(target)

    async def _held(self, bucket_id: UUID) -> StorageBucket:
        """The bucket, which nobody removes until this transaction ends."""
        held = await self.db.fetch(f"SELECT id FROM storage_buckets WHERE id = $1 {shared(self.db)}", bucket_id)
        bucket = await StorageBucket.objects().where(StorageBucket.id == bucket_id).first() if held else None
        if bucket is None:
            raise NoSuchBucket("the bucket has been deleted meanwhile")
        return bucket

    async def _place(
        self, bucket: StorageBucket, key: str, content: dict[str, Any], condition: Condition
    ) -> StoredObject:
        """In the running transaction: make `content` the object under `key`, if `condition` holds."""
        now = self.clock.now()
        while True:
            present = await row_of(bucket, key)
            check(condition, present)
            if present is None:
                row = StorageObject(
                    id=new_id(), bucket_id=bucket.id, key=key.encode(), created_at=now, modified_at=now, **content
                )
                made = await (
                    StorageObject.insert(row)
                    .on_conflict(target=(StorageObject.bucket_id, StorageObject.key), action="DO NOTHING")
                    .returning(StorageObject.id)
                )
                if not made:
                    continue  # somebody was faster
                await self.events.publish(ObjectCreated(row.id, bucket.name, key, **_told(content)))
            else:
                columns: dict[Any, Any] = {
                    **content,
                    "version": present.version + 1,
                    "modified_at": later(now, present),
                }
                changed = await (
                    StorageObject.update(columns)
                    .where((StorageObject.id == present.id) & (StorageObject.version == present.version))
                    .returning(*StorageObject.all_columns())
                )
                if not changed:
                    continue
                row = StorageObject(**changed[0])
                told = ObjectReplaced(row.id, bucket.name, key, **_told(content), version=row.version)
                await self.events.publish(told)
                await self.aftermath.discard([present.blob_key])
            await self.aftermath.forget(bucket, (key, present.sha256 if present else ""))
            return StoredObject(described(row, bucket.name), present is None)


def later(now: datetime, present: StorageObject | None) -> datetime:
    """The time of a change: never in the same second as the change before, so that a date names one version."""
    if present is None:
        return now
    return max(now, present.modified_at.replace(microsecond=0) + timedelta(seconds=1))


def new_blob_key(kind: str) -> str:
    """A key that was never used before; spread by its random end."""
    name = new_id().hex
    return f"{kind}/{name[-2:]}/{name}"


def too_large(limit: int) -> ObjectTooLarge:
    """More bytes than `limit`."""
    return ObjectTooLarge(f"the object has more than {limit} bytes")


def _person() -> UUID | None:
    person = caller()
    return UUID(person) if person else None


def _content(row: StorageObject) -> dict[str, Any]:
    names = ("blob_key", "size", "sha256", "content_type", "found_type")
    return {name: getattr(row, name) for name in names}


def _told(content: dict[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in ("size", "content_type", "sha256", "owner_id")}


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
