"""Reconciliation: metadata and bytes become the same again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from storage_kit import ADA, GRACE, Kit, as_person, one, storage, upload

from orion_core.context import SYSTEM, acting
from orion_core.contracts.storage import AccessDenied, NewBucket, NewUpload, NoSuchPicture, ObjectDeleted, Picture
from orion_core.contracts.users import AvatarChanged, UserErased
from orion_core.errors import Forbidden

PIL = pytest.importorskip("PIL.Image", reason="needs the extra images")


def a_picture() -> bytes:
    import io

    file = io.BytesIO()
    PIL.new("RGB", (80, 80), (1, 2, 3)).save(file, "PNG")
    return file.getvalue()


async def collect(kit: Kit, dry_run: bool = False) -> tuple[int, int, int, int, tuple[str, ...]]:
    with acting(SYSTEM):
        found = await kit.service.collect(dry_run)
    await kit.settle()
    return found.expired_uploads, found.expired_pictures, found.expired_objects, found.orphans, found.missing


async def test_bytes_without_metadata_go_after_a_day(database_url: str) -> None:
    """T8: a dry run only counts."""
    async with storage(database_url) as kit:
        await kit.put("a", b"kept")
        await kit.blobs.put("objects/00/orphan", one(b"x"))
        assert await collect(kit) == (0, 0, 0, 0, ())
        await kit.advance(timedelta(days=1, minutes=1))
        assert await collect(kit, dry_run=True) == (0, 0, 0, 1, ())
        assert "objects/00/orphan" in await kit.blob_keys()
        assert await collect(kit) == (0, 0, 0, 1, ())
        assert await kit.read("a") == b"kept"
        assert len(await kit.blob_keys()) == 1


async def test_metadata_without_bytes_is_reported_and_stays(database_url: str) -> None:
    """T8: never served as empty, and never hidden by removing the rest."""
    async with storage(database_url) as kit:
        await kit.put("folder/ä", b"x")
        await kit.blobs.delete(*await kit.blob_keys())
        assert await collect(kit) == (0, 0, 0, 0, ("bucket/folder/ä",))
        assert (await kit.service.open("bucket", "folder/ä")).info.size == 1


async def test_unfinished_uploads_expire_with_their_bytes(database_url: str) -> None:
    """T8: safe beside running uploads."""
    async with storage(database_url) as kit:
        dead = await kit.service.begin_upload(NewUpload("bucket", "a", "", b""))
        await kit.blobs.put(dead.blob_key, one(b"dead"))
        await kit.advance(timedelta(hours=23))
        alive = await kit.service.begin_upload(NewUpload("bucket", "b", "", b""))
        await kit.blobs.put(alive.blob_key, one(b"alive"))
        await kit.advance(timedelta(hours=2))
        assert (await collect(kit, dry_run=True))[0] == 1
        assert (await collect(kit))[0] == 1
        await kit.advance(timedelta(minutes=6))
        await kit.settle()
        assert await kit.blob_keys() == {alive.blob_key}
        await kit.service.finish_upload(alive.id, 5, "0" * 64)
        assert await kit.read("b") == b"alive"


async def test_objects_expire_by_the_lifecycle_of_their_bucket(database_url: str) -> None:
    """T1."""
    async with storage(database_url) as kit:
        await kit.service.create_bucket(NewBucket("short", expire_days=2))
        await kit.put("a", b"x", "short")
        await kit.put("a", b"x")
        await kit.advance(timedelta(days=1))
        await kit.put("b", b"x", "short")
        await kit.advance(timedelta(days=1, minutes=1))
        assert (await collect(kit, dry_run=True))[2] == 1
        assert (await collect(kit))[2] == 1
        assert [item.key for item in (await kit.service.objects("short", "", "", "", 10)).items] == ["b"]
        assert [event.bucket for event in await kit.told(ObjectDeleted)] == ["short"]


async def test_a_picture_stays_only_if_it_is_used(database_url: str) -> None:
    """T31: 24 hours, unless the avatar changes to it; the one before is freed."""
    async with storage(database_url) as kit:
        unused, first, second = [await kit.service.put_picture(Picture(ADA, a_picture(), (32, 64))) for _ in range(3)]
        assert len(await kit.blob_keys()) == 6
        await hear(kit, AvatarChanged(ADA, first.id, None))
        await kit.advance(timedelta(days=1, minutes=1))
        with pytest.raises(NoSuchPicture):
            await kit.service.open_picture(unused.id, 32)
        assert (await kit.service.open_picture(first.id, 64)).content_type == "image/jpeg"
        with pytest.raises(NoSuchPicture):
            await kit.service.open_picture(first.id, 33)
        assert (await collect(kit))[1] == 2
        assert len(await kit.blob_keys()) == 2
        third = await kit.service.put_picture(Picture(ADA, a_picture(), (32,)))
        await hear(kit, AvatarChanged(ADA, third.id, first.id))
        await hear(kit, AvatarChanged(ADA, third.id, first.id))
        with pytest.raises(NoSuchPicture):
            await kit.service.open_picture(first.id, 64)
        assert len(await kit.blob_keys()) == 1
        await hear(kit, AvatarChanged(GRACE, None, third.id))
        await kit.service.open_picture(third.id, 32)
        await hear(kit, AvatarChanged(ADA, None, third.id))
        assert await kit.blob_keys() == set()
        assert second.expires_at > first.expires_at - timedelta(minutes=1)


async def test_erasing_a_person_removes_pictures_in_all_sizes(database_url: str) -> None:
    """T11."""
    async with storage(database_url, public_url="https://x.example", purge_url="https://cdn.example") as kit:
        made = await kit.service.put_picture(Picture(ADA, a_picture(), (32, 64)))
        with as_person(GRACE):
            kept = await kit.service.put_picture(Picture(GRACE, a_picture(), (32,)))
        async with kit.service.db.transaction():
            await kit.service.forget(UserErased(ADA, kit.clock.now()))
        await kit.settle()
        with pytest.raises(NoSuchPicture):
            await kit.service.open_picture(made.id, 32)
        await kit.service.open_picture(kept.id, 32)
        assert len(await kit.blob_keys()) == 1
        with pytest.raises(AccessDenied):
            await kit.service.put_picture(Picture(ADA, a_picture(), (32,)))
        at = f"https://x.example/api/v1/storage/pictures/{made.id}"
        assert sorted(kit.purged.urls) == [f"{at}/32", f"{at}/64"]


async def test_only_those_who_manage_may_collect(database_url: str) -> None:
    async with storage(database_url, work=False) as kit:
        await upload(kit, "a", b"x")
        with pytest.raises(Forbidden):
            await kit.service.collect(False)
        with as_person(GRACE, "storage:manage"):
            await kit.service.collect(False)


async def hear(kit: Kit, event: AvatarChanged) -> None:
    async with kit.service.db.transaction():
        await kit.service.use_picture(event)
    await kit.settle()
