"""Files: buckets, objects, and pictures of people."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Self
from urllib.parse import quote
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.storage import (
    ANYWAY,
    Bucket,
    BucketChange,
    BucketPage,
    Collected,
    Condition,
    CopyObject,
    Deletions,
    Grant,
    GrantList,
    NewBucket,
    NewGrant,
    NewUpload,
    ObjectPage,
    OpenObject,
    Picture,
    PictureFile,
    PutObject,
    SignedUrl,
    SignUrl,
    Storage,
    StoredObject,
    StoredPicture,
    Upload,
)
from orion_core.contracts.users import AvatarChanged, UserErased
from orion_core.events import Events, on
from orion_core.jobs import Jobs, job
from orion_core.keyring import Keyring
from orion_core.ports.blobs import Blobs
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.ports.purge import Purge
from orion_core.settings import Settings
from orion_plugins.storage import signing
from orion_plugins.storage.aftermath import Aftermath, object_path
from orion_plugins.storage.buckets import Buckets
from orion_plugins.storage.cleaning import Cleaning
from orion_plugins.storage.keys import to_key
from orion_plugins.storage.media_types import declared
from orion_plugins.storage.objects import Objects
from orion_plugins.storage.pictures import Pictures
from orion_plugins.storage.pixels import Workshop
from orion_plugins.storage.rights import MANAGE, Wish, admitted, caller
from orion_plugins.storage.settings import StorageSettings
from orion_plugins.storage.tables import StorageErased
from orion_plugins.storage.uploads import Uploads, too_large

_AGAIN = timedelta(minutes=10)


@attrs.define(eq=False)
class StorageService(Storage):
    """Keeps `Storage`: metadata in its tables, bytes in `Blobs`."""

    db: Database
    events: Events
    jobs: Jobs
    clock: Clock
    blobs: Blobs
    purge: Purge
    keyring: Keyring
    settings: StorageSettings
    platform: Settings
    _workshop: Workshop = attrs.field(init=False)
    _buckets: Buckets = attrs.field(init=False)
    _objects: Objects = attrs.field(init=False)
    _uploads: Uploads = attrs.field(init=False)
    _pictures: Pictures = attrs.field(init=False)
    _cleaning: Cleaning = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        purging = not self.platform.purge_url.startswith("none:")
        after = Aftermath(self.jobs, self.remove_blobs, self.purge_caches, self.platform.public_url, purging)
        self._workshop = Workshop(self.settings.picture_workers, self.settings.picture_queue)
        self._buckets = Buckets(self.db, self.clock, self.settings, after)
        self._objects = Objects(self.db, self.events, self.clock, self.keyring, after)
        self._uploads = Uploads(self.db, self.events, self.clock, self.blobs, self.keyring, after, self._objects)
        self._pictures = Pictures(self.db, self.clock, self.blobs, self._workshop, after)
        self._cleaning = Cleaning(self.db, self.clock, self.blobs, after, self._objects, self._pictures)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workshop.close()

    async def put_picture(self, picture: Picture) -> StoredPicture:
        return await self._pictures.put(picture)

    async def open_picture(self, picture_id: UUID, size: int) -> PictureFile:
        return await self._pictures.open(picture_id, size)

    async def create_bucket(self, bucket: NewBucket) -> Bucket:
        return await self._buckets.create(bucket)

    async def bucket(self, name: str) -> Bucket:
        return await self._buckets.get(name)

    async def buckets(self, cursor: str, limit: int) -> BucketPage:
        return await self._buckets.page(cursor, limit)

    async def change_bucket(self, name: str, change: BucketChange) -> Bucket:
        return await self._buckets.change(name, change)

    async def delete_bucket(self, name: str) -> None:
        await self._buckets.delete(name)

    async def grant(self, bucket: str, grant: NewGrant) -> Grant:
        return await self._buckets.grant(bucket, grant)

    async def grants(self, bucket: str) -> GrantList:
        return await self._buckets.grants(bucket)

    async def revoke(self, bucket: str, grant_id: UUID) -> None:
        await self._buckets.revoke(bucket, grant_id)

    async def begin_upload(self, upload: NewUpload) -> Upload:
        return await self._uploads.begin(upload)

    async def finish_upload(self, upload_id: UUID, size: int, sha256: str) -> StoredObject:
        return await self._uploads.finish(upload_id, size, sha256)

    async def abandon_upload(self, upload_id: UUID) -> None:
        await self._uploads.abandon(upload_id)

    async def put_object(self, put: PutObject) -> StoredObject:
        return await self._uploads.put(put)

    async def open(self, bucket: str, key: str, signature: str = "") -> OpenObject:
        return await self._objects.open(bucket, key, signature)

    async def objects(self, bucket: str, prefix: str, delimiter: str, cursor: str, limit: int) -> ObjectPage:
        return await self._objects.page(bucket, prefix, delimiter, cursor, limit)

    async def delete(self, bucket: str, key: str, condition: Condition = ANYWAY) -> None:
        await self._objects.delete(bucket, key, condition)

    async def delete_many(self, bucket: str, keys: tuple[str, ...]) -> Deletions:
        return await self._objects.delete_many(bucket, keys)

    async def copy(self, copy: CopyObject) -> StoredObject:
        return await self._uploads.copy(copy)

    async def move(self, move: CopyObject) -> StoredObject:
        return await self._uploads.move(move)

    async def sign(self, sign: SignUrl) -> SignedUrl:
        key = to_key(sign.key)
        wish: Wish = "read" if sign.method == "GET" else "write"
        bucket = await admitted(sign.bucket, wish, key.encode())
        if sign.max_size > bucket.max_size:
            raise too_large(bucket.max_size)
        person = caller()
        expires = self.clock.now() + timedelta(seconds=sign.expires_in)
        claims = signing.Claims(
            method=sign.method,
            bucket=bucket.name,
            key=key,
            expires=int(expires.timestamp()),
            max_size=sign.max_size,
            content_type=declared(sign.content_type, key) if sign.content_type else "",
            by=UUID(person) if person else None,
        )
        signature = signing.sign(claims, self.keyring.encryption)
        url = f"{self.platform.public_url.rstrip('/')}{object_path(bucket.name, key)}?signature={quote(signature)}"
        return SignedUrl(url, sign.method, expires.replace(microsecond=0))

    async def collect(self, dry_run: bool) -> Collected:
        actor = current().actor
        if not actor.trusted:
            actor.require(MANAGE)
        return await self._cleaning.collect(dry_run)

    @on(AvatarChanged)
    async def use_picture(self, event: AvatarChanged) -> None:
        """Keep the picture that is in use now, and remove the one that is not any more."""
        await self._pictures.use(event.user_id, event.picture_id, event.replaced_id)

    @on(UserErased)
    async def forget(self, event: UserErased) -> None:
        """A person's objects may be many: a job removes them, and looks again for what was just coming in."""
        row = StorageErased(user_id=event.user_id, erased_at=event.erased_at)
        await StorageErased.insert(row).on_conflict(target=StorageErased.user_id, action="DO NOTHING")
        await self.jobs.enqueue(self.forget_person, event.user_id, priority="high")
        await self.jobs.enqueue(self.forget_person, event.user_id, delay=_AGAIN)

    @job(retries=20)
    async def forget_person(self, user_id: UUID) -> None:
        """Remove objects, pictures, uploads, rights and empty buckets of a person, and tell what was removed."""
        await self._cleaning.forget_person(user_id)

    @job(retries=12)
    async def remove_blobs(self, blob_keys: tuple[str, ...]) -> None:
        """Remove bytes to which nothing refers."""
        await self._cleaning.remove_blobs(blob_keys)

    @job(retries=12, base=0.2, cap=60.0)
    async def purge_caches(self, urls: tuple[str, ...], tags: tuple[str, ...]) -> None:
        """Make shared caches forget."""
        await self.purge.purge(urls=urls, tags=tags)

    @job(every=timedelta(hours=1), timeout=3600.0)
    async def collect_garbage(self) -> None:
        """What `collect` does, every hour."""
        await self._cleaning.collect(dry_run=False)
