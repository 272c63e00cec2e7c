"""What follows a change, as jobs of its transaction: bytes that nobody needs any more go, shared caches forget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID

import attrs

from orion_core.jobs import Jobs
from orion_plugins.storage.tables import StorageBucket

READING = timedelta(minutes=5)
"""How long replaced bytes stay for those who have begun to read them, and who may come for a second range."""
_BATCH = 500
_PURGED = 50


def object_path(bucket: str, key: str) -> str:
    """The path of an object's URL."""
    return f"/api/v1/storage/buckets/{bucket}/objects/{quote(key, safe='/~')}"


def picture_path(picture_id: UUID, side: int) -> str:
    """The path of one size of a picture."""
    return f"/api/v1/storage/pictures/{picture_id}/{side}"


def bucket_tag(bucket: str) -> str:
    """The surrogate key of all objects in a bucket."""
    return f"orion-bucket-{bucket}"


@attrs.frozen
class Aftermath:
    """Enqueues, in the running transaction, the jobs `remove_blobs` and `purge_caches`."""

    jobs: Jobs
    remove_blobs: Callable[[tuple[str, ...]], Awaitable[None]]
    purge_caches: Callable[[tuple[str, ...], tuple[str, ...]], Awaitable[None]]
    public_url: str
    purging: bool

    async def discard(self, blob_keys: Sequence[str], *, delay: timedelta = READING) -> None:
        """Remove these bytes once nothing refers to them."""
        for at in range(0, len(blob_keys), _BATCH):
            await self.jobs.enqueue(self.remove_blobs, tuple(blob_keys[at : at + _BATCH]), delay=delay)

    async def forget(self, bucket: StorageBucket, *versions: tuple[str, str]) -> None:
        """Make shared caches forget these objects, if they may have any of a public bucket.

        Each is a key and the SHA-256 of the content that was under it until now, empty if there was none: who asked for
        that content by its hash was told to keep it for a year.
        """
        if bucket.visibility == "public":
            paths = [object_path(bucket.name, key) for key, _ in versions]
            hashed = [f"{object_path(bucket.name, key)}?v={sha256}" for key, sha256 in versions if sha256]
            await self.forget_paths([*paths, *hashed])

    async def forget_paths(self, paths: Sequence[str]) -> None:
        """Make shared caches forget what is at these paths."""
        if not self.purging:
            return
        urls = [self.public_url.rstrip("/") + path for path in paths]
        for at in range(0, len(urls), _PURGED):
            await self.jobs.enqueue(self.purge_caches, tuple(urls[at : at + _PURGED]), (), priority="high")

    async def forget_all(self, bucket: StorageBucket) -> None:
        """Make shared caches forget everything of a bucket."""
        if self.purging:
            await self.jobs.enqueue(self.purge_caches, (), (bucket_tag(bucket.name),), priority="high")
