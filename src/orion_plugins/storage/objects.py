"""Objects: reading, listing and deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.storage import (
    AccessDenied,
    Condition,
    ConditionFailed,
    Deletion,
    Deletions,
    InvalidKey,
    NoSuchBucket,
    NoSuchObject,
    ObjectDeleted,
    ObjectInfo,
    ObjectPage,
    OpenObject,
)
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.paging import check_limit, pack
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.storage.aftermath import READING, Aftermath
from orion_plugins.storage.buckets import described as described_bucket
from orion_plugins.storage.keys import after, beyond, from_cursor, to_key, to_prefix
from orion_plugins.storage.rights import access, admitted, refuse_erased
from orion_plugins.storage.signing import verify
from orion_plugins.storage.tables import StorageBucket, StorageObject, StorageRead

_MANY = 1000
_BATCH = 200


@attrs.frozen
class Objects:
    """The operations on objects that bring no bytes."""

    db: Database
    events: Events
    clock: Clock
    keyring: Keyring
    aftermath: Aftermath

    async def open(self, name: str, key_text: str, signature: str) -> OpenObject:
        key = to_key(key_text)
        by: UUID | None = None
        if signature:
            claims = verify(signature, "GET", name, key, self.keyring.encryption, self.clock.now())
            by = claims.by
            await refuse_erased(by)
            bucket = await bucket_named(name)
        else:
            bucket = await admitted(name, "read", key.encode())
        row = await row_of(bucket, key)
        if row is None:
            raise NoSuchObject(f"there is no object {key} in {name}")
        if bucket.sensitivity == "personal":
            await self._record(bucket, row, by)
        seen = described_bucket(bucket)
        return OpenObject(
            info=described(row, bucket.name),
            blob_key=row.blob_key,
            # Who came by signature came in the name of a person, and no cache may pass that on.
            visibility="private" if signature else seen.visibility,
            cache_seconds=seen.cache_seconds,
            sensitivity=seen.sensitivity,
            opened_at=self.clock.now(),
        )

    async def _record(self, bucket: StorageBucket, row: StorageObject, by: UUID | None) -> None:
        context = current()
        await StorageRead.insert(
            StorageRead(
                id=new_id(),
                actor=context.actor.name if by is None else f"user:{by}",
                owner_id=row.owner_id,
                object_id=row.id,
                bucket=bucket.name,
                signed=by is not None,
                correlation_id=context.correlation_id,
                at=self.clock.now(),
            )
        )

    async def page(self, name: str, prefix_text: str, delimiter: str, cursor: str, limit: int) -> ObjectPage:
        prefix = to_prefix(prefix_text)
        check_limit(limit)
        if len(delimiter) > 16:
            raise invalid("delimiter", "too_long", "must have at most 16 characters")
        bucket = await admitted(name, "list", prefix)
        place = max(prefix, from_cursor(cursor))
        split = delimiter.encode("utf-8", "replace")
        items: list[ObjectInfo] = []
        prefixes: list[str] = []
        while True:
            rows = await self._rows(bucket, prefix, place, limit + 1)
            for row in rows:
                if row.key < place:
                    continue  # behind a common beginning that was told already
                if len(items) + len(prefixes) == limit:
                    return ObjectPage(tuple(items), tuple(prefixes), pack(place))
                end = row.key.find(split, len(prefix)) if split else -1
                if end < 0:
                    items.append(described(row, bucket.name))
                    place = after(row.key)
                else:
                    common = row.key[: end + len(split)]
                    prefixes.append(common.decode())
                    place = beyond(common)
            if len(rows) <= limit:
                return ObjectPage(tuple(items), tuple(prefixes), None)

    async def _rows(self, bucket: StorageBucket, prefix: bytes, place: bytes, limit: int) -> Sequence[StorageObject]:
        wanted = (StorageObject.bucket_id == bucket.id) & (StorageObject.key >= place)
        if prefix:
            wanted = wanted & (StorageObject.key < beyond(prefix))
        return await StorageObject.objects().where(wanted).order_by(StorageObject.key).limit(limit)

    async def delete(self, name: str, key_text: str, condition: Condition) -> None:
        key = to_key(key_text)
        bucket = await admitted(name, "write", key.encode())
        async with self.db.transaction():
            while True:
                row = await row_of(bucket, key)
                check(condition, row)
                if row is None or await self.remove(bucket, [row]):
                    return

    async def delete_many(self, name: str, key_texts: Sequence[str]) -> Deletions:
        if len(key_texts) > _MANY:
            raise invalid("keys", "too_long", f"must have at most {_MANY} items")
        may = await access(name, "write")
        outcomes: dict[str, Deletion] = {}
        keys: dict[str, str] = {}
        for text in key_texts:
            try:
                key = to_key(text)
                may.check(key.encode())
                keys[text] = key
            except (InvalidKey, AccessDenied) as error:
                outcomes[text] = Deletion(text, False, error.code, error.detail)
        texts = list(keys)
        for at in range(0, len(texts), _BATCH):
            batch = [keys[text].encode() for text in texts[at : at + _BATCH]]
            async with self.db.transaction():
                rows = await StorageObject.objects().where(
                    (StorageObject.bucket_id == may.bucket.id) & StorageObject.key.is_in(batch)
                )
                await self.remove(may.bucket, rows)
        return Deletions(tuple(outcomes.get(text) or Deletion(text, True) for text in key_texts))

    async def remove(self, bucket: StorageBucket, rows: Sequence[StorageObject], *, at_once: bool = False) -> int:
        """In the running transaction: remove `rows` as far as they are still as they were, tell it, clean up after."""
        if not rows:
            return 0
        removed = []
        for row in rows:
            gone = (
                await StorageObject.delete()
                .where((StorageObject.id == row.id) & (StorageObject.version == row.version))
                .returning(StorageObject.id)
            )
            if gone:
                removed.append(row)
        keys = [row.key.decode() for row in removed]
        if removed:
            await self.events.publish(
                *(ObjectDeleted(row.id, bucket.name, key, row.owner_id) for row, key in zip(removed, keys, strict=True))
            )
            blob_keys = [row.blob_key for row in removed]
            await self.aftermath.discard(blob_keys, delay=timedelta(0) if at_once else READING)
            await self.aftermath.forget(bucket, *((key, row.sha256) for row, key in zip(removed, keys, strict=True)))
        return len(removed)


async def bucket_named(name: str) -> StorageBucket:
    """The bucket, whoever asks; raises `NoSuchBucket`."""
    bucket = await StorageBucket.objects().where(StorageBucket.name == name).first()
    if bucket is None:
        raise NoSuchBucket(f"there is no bucket {name}")
    return bucket


async def row_of(bucket: StorageBucket, key: str) -> StorageObject | None:
    """The object under `key`."""
    wanted = (StorageObject.bucket_id == bucket.id) & (StorageObject.key == key.encode())
    return await StorageObject.objects().where(wanted).first()


def check(condition: Condition, row: StorageObject | None) -> None:
    """Raise `ConditionFailed` unless `condition` holds for the object as it is (RFC 9110, section 13.2.2)."""
    tag = None if row is None else row.sha256
    if condition.if_match is not None:
        if tag is None or not {"*", tag} & set(condition.if_match):
            raise ConditionFailed("the object is not the one that If-Match names: read it again")
    elif condition.unmodified_since is not None and (
        row is None or _second(row.modified_at) > condition.unmodified_since
    ):
        raise ConditionFailed("the object has changed since then: read it again")
    if condition.if_none_match is not None and tag is not None and {"*", tag} & set(condition.if_none_match):
        raise ConditionFailed("there is such an object already")


def _second(time: datetime) -> datetime:
    return time.replace(microsecond=0)


def described(row: StorageObject, bucket: str) -> ObjectInfo:
    """The row as others may see it."""
    return ObjectInfo(
        id=row.id,
        bucket=bucket,
        key=row.key.decode(),
        size=row.size,
        content_type=row.content_type,
        sha256=row.sha256,
        owner_id=row.owner_id,
        version=row.version,
        created_at=row.created_at,
        modified_at=row.modified_at,
    )
