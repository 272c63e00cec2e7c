"""Buckets and the rights in them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import attrs
from piccolo.columns.combination import And
from piccolo.custom_types import Combinable

from orion_core.context import current
from orion_core.contracts.storage import (
    Bucket,
    BucketChange,
    BucketNotEmpty,
    BucketPage,
    BucketTaken,
    Grant,
    GrantList,
    NewBucket,
    NewGrant,
    NoSuchGrant,
    Right,
    TooManyBuckets,
)
from orion_core.ids import new_id
from orion_core.paging import check_limit, pack
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.storage.aftermath import Aftermath
from orion_plugins.storage.dialect import alone
from orion_plugins.storage.keys import from_cursor, to_prefix
from orion_plugins.storage.rights import admitted, caller, manages
from orion_plugins.storage.settings import StorageSettings
from orion_plugins.storage.tables import StorageBucket, StorageGrant, StorageObject

_FIELDS = ("visibility", "max_size", "cache_seconds", "sensitivity", "expire_days")


@attrs.frozen
class Buckets:
    """The operations on buckets and grants."""

    db: Database
    clock: Clock
    settings: StorageSettings
    aftermath: Aftermath

    async def create(self, bucket: NewBucket) -> Bucket:
        person = caller()
        now = self.clock.now()
        row = StorageBucket(
            id=new_id(),
            name=bucket.name,
            owner_id=UUID(person) if person else None,
            allowed_types=json.dumps(bucket.allowed_types),
            created_at=now,
            updated_at=now,
            **{name: getattr(bucket, name) for name in _FIELDS},
        )
        row.max_size = self._size(bucket.max_size)
        async with self.db.transaction():
            if person and not manages(current().actor):
                await self._check_number(UUID(person))
            made = await (
                StorageBucket.insert(row)
                .on_conflict(target=StorageBucket.name, action="DO NOTHING")
                .returning(StorageBucket.id)
            )
            if not made:
                raise BucketTaken(f"there is a bucket {bucket.name} already")
        return described(row)

    async def _check_number(self, person: UUID) -> None:
        await alone(self.db, f"storage: buckets of {person}")
        if await StorageBucket.count().where(StorageBucket.owner_id == person) >= self.settings.buckets_per_person:
            raise TooManyBuckets(f"one person may own {self.settings.buckets_per_person} buckets")

    def _size(self, wanted: int) -> int:
        most = self.settings.max_object_size
        if wanted > most:
            raise invalid("max_size", "out_of_range", f"must be at most {most}")
        return wanted or most

    async def get(self, name: str) -> Bucket:
        return described(await admitted(name, "see"))

    async def page(self, cursor: str, limit: int) -> BucketPage:
        person = caller()
        check_limit(limit)
        wanted: Combinable = StorageBucket.name > from_cursor(cursor).decode("utf-8", "replace")
        if person and not manages(current().actor):
            wanted = And(wanted, StorageBucket.owner_id == UUID(person))
        rows = await StorageBucket.objects().where(wanted).order_by(StorageBucket.name).limit(limit + 1)
        more = len(rows) > limit
        return BucketPage(
            items=tuple(map(described, rows[:limit])),
            next_cursor=pack(rows[limit - 1].name.encode()) if more else None,
        )

    async def change(self, name: str, change: BucketChange) -> Bucket:
        row = await admitted(name, "own")
        columns: dict[Any, Any] = {
            field: getattr(change, field) for field in _FIELDS if getattr(change, field) is not None
        }
        if change.max_size is not None:
            columns["max_size"] = self._size(change.max_size)
        if change.allowed_types is not None:
            columns["allowed_types"] = json.dumps(change.allowed_types)
        columns["updated_at"] = self.clock.now()
        async with self.db.transaction():
            await StorageBucket.update(columns).where(StorageBucket.id == row.id)
            if row.visibility == "public":
                # What was public may not be any more, or not for as long.
                await self.aftermath.forget_all(row)
        return described(await admitted(name, "own"))

    async def delete(self, name: str) -> None:
        row = await admitted(name, "own")
        async with self.db.transaction():
            # Removed first: uploads that are being finished hold the row, and are then seen. Those still coming find
            # no bucket when they finish.
            await StorageBucket.delete().where(StorageBucket.id == row.id)
            if await StorageObject.exists().where(StorageObject.bucket_id == row.id):
                raise BucketNotEmpty(f"the bucket {name} has objects in it: delete them first")
            await StorageGrant.delete().where(StorageGrant.bucket_id == row.id)

    async def grant(self, name: str, grant: NewGrant) -> Grant:
        row = await admitted(name, "own")
        made = StorageGrant(
            id=new_id(),
            bucket_id=row.id,
            subject=grant.subject,
            access=grant.right,
            prefix=to_prefix(grant.prefix),
            created_at=self.clock.now(),
        )
        await StorageGrant.insert(made)
        return _granted(made)

    async def grants(self, name: str) -> GrantList:
        row = await admitted(name, "own")
        rows = await StorageGrant.objects().where(StorageGrant.bucket_id == row.id).order_by(StorageGrant.id)
        return GrantList(tuple(map(_granted, rows)))

    async def revoke(self, name: str, grant_id: UUID) -> None:
        row = await admitted(name, "own")
        wanted = (StorageGrant.id == grant_id) & (StorageGrant.bucket_id == row.id)
        if not await StorageGrant.delete().where(wanted).returning(StorageGrant.id):
            raise NoSuchGrant(f"there is no grant {grant_id}")


def described(row: StorageBucket) -> Bucket:
    """The row as others may see it."""
    return Bucket(
        name=row.name,
        allowed_types=tuple(json.loads(row.allowed_types)),
        owner_id=row.owner_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        **{name: getattr(row, name) for name in _FIELDS},
    )


def _granted(row: StorageGrant) -> Grant:
    right: Right = "write" if row.access == "write" else "read"
    return Grant(row.id, row.subject, right, row.prefix.decode(), row.created_at)
