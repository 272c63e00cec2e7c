"""The service `storage` built by hand, on either database and any store of blobs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import attrs

from orion_core.adapters.choose import open_database
from orion_core.adapters.memory_blobs import MemoryBlobs
from orion_core.context import Actor, Context, acting, use
from orion_core.contracts.storage import BucketTaken, NewBucket, NewUpload, PutObject, Storage, StoredObject
from orion_core.keyring import Keyring
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.outbox import Outbox
from orion_core.ports.blobs import Blobs
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing import engines
from orion_core.testing.clock import MovableClock
from orion_plugins.storage.plugin import orion_plugin
from orion_plugins.storage.service import StorageService
from orion_plugins.storage.settings import StorageSettings

T = TypeVar("T")
ADA, GRACE = (UUID(int=number) for number in (1, 2))


class Purged:
    """A shared cache that writes down what it was told to forget."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.tags: list[str] = []

    async def purge(self, *, urls: Any = (), tags: Any = ()) -> None:
        self.urls += urls
        self.tags += tags

    async def aclose(self) -> None:
        pass


@attrs.define
class Kit:
    """A service with what a test looks at."""

    service: StorageService
    clock: MovableClock
    blobs: Blobs
    purged: Purged
    queue: JobQueue

    async def put(self, key: str, content: bytes, bucket: str = "bucket", **more: Any) -> StoredObject:
        return await self.service.put_object(PutObject(bucket, key, content, **more))

    async def read(self, key: str, bucket: str = "bucket") -> bytes:
        found = await self.service.open(bucket, key)
        return b"".join([piece async for piece in self.blobs.get(found.blob_key)])

    async def blob_keys(self) -> set[str]:
        return {info.key async for info in self.blobs.list()}

    async def settle(self) -> None:
        """Run the jobs that are due."""

        async def idle() -> bool:
            self.queue.wake()
            rows = await self.service.db.fetch(
                "SELECT COUNT(*) AS waiting FROM orion_jobs WHERE state = 'active' OR (state IN ('ready', 'delayed') "
                f"AND due_ms <= {self.service.db.dialect.now_ms} + {int(self.clock.offset.total_seconds() * 1000)})"
            )
            return not rows[0]["waiting"]

        await engines.until(idle, "settling")

    async def advance(self, by: timedelta) -> None:
        self.clock.advance(by)

    async def told(self, cls: type[T]) -> list[T]:
        return await engines.told({"storage": self.service.db}, cls)


@asynccontextmanager
async def storage(
    url: str,
    *,
    blobs: Blobs | None = None,
    work: bool = True,
    public_url: str = "",
    purge_url: str = "none:",
    **settings: Any,
) -> AsyncIterator[Kit]:
    """The service with a bucket called ``bucket`` of Ada's; the test runs as Ada."""
    clock = MovableClock()
    db = await open_database(Settings(database_url=url, synchronous="NORMAL"), "storage")
    queue = JobQueue("storage", db, clock, interval=0.02)
    plugin = orion_plugin()
    try:
        await up(db, [CORE, MigrationApp("storage", plugin.migrations)])
        for table in plugin.tables:
            table._meta._db = db.engine
        purged = Purged()
        service = StorageService(
            db=db,
            events=Outbox("storage", Storage, db, clock),
            jobs=queue,
            clock=clock,
            blobs=blobs or MemoryBlobs(clock),
            purge=purged,
            keyring=Keyring.generate(),
            settings=StorageSettings(**settings),
            platform=Settings(public_url=public_url, purge_url=purge_url),
        )
        queue.serve(service)
        if work:
            await queue.start()
            # Tests collect by themselves.
            await db.fetch("DELETE FROM orion_jobs WHERE type LIKE $1", "%collect_garbage")
        async with service:
            with use(Context(actor=Actor("user", str(ADA)))):
                with suppress(BucketTaken):
                    await service.create_bucket(NewBucket("bucket"))
                yield Kit(service, clock, service.blobs, purged, queue)
    finally:
        await queue.stop(5)
        await db.aclose()


@contextmanager
def as_person(person: UUID, *permissions: str) -> Iterator[None]:
    with acting(Actor("user", str(person), permissions=permissions)):
        yield


async def upload(kit: Kit, key: str, content: bytes, **more: Any) -> StoredObject:
    """The steps of an upload, one after the other."""
    begun = await kit.service.begin_upload(NewUpload("bucket", key, "", content[:512], len(content), **more))
    await kit.blobs.put(begun.blob_key, one(content))
    return await kit.service.finish_upload(begun.id, len(content), hashlib.sha256(content).hexdigest())


async def one(content: bytes) -> AsyncIterator[bytes]:
    await asyncio.sleep(0)
    yield content
