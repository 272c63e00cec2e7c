"""The service `storage` built by hand on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import random
from datetime import timedelta
from typing import Any

import pytest
from storage_kit import ADA, GRACE, Kit, as_person, one, storage, upload

from orion_core.adapters.choose import open_database
from orion_core.context import SYSTEM, acting
from orion_core.contracts.storage import (
    BadSignature,
    BucketChange,
    BucketNotEmpty,
    Condition,
    ConditionFailed,
    CopyObject,
    NewBucket,
    NewGrant,
    NewUpload,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    ObjectCreated,
    ObjectDeleted,
    ObjectMoved,
    ObjectReplaced,
    ObjectTooLarge,
    SignatureExpired,
    SignUrl,
    TooManyBuckets,
)
from orion_core.contracts.users import UserErased
from orion_core.errors import Error
from orion_core.events import event_type
from orion_core.migrate_new import drift
from orion_core.settings import Settings
from orion_core.testing import engines
from orion_core.testing.databases import postgres_database, waits_for_lock
from orion_plugins.storage import rights
from orion_plugins.storage.plugin import orion_plugin
from orion_plugins.storage.tables import StorageObject, StorageRead, StorageUpload


async def all_keys(kit: Kit, prefix: str = "", delimiter: str = "", limit: int = 100) -> list[str]:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await kit.service.objects("bucket", prefix, delimiter, cursor, limit)
        found += [item.key for item in page.items] + list(page.prefixes)
        cursor = page.next_cursor
    return found


async def test_the_tables_are_as_the_migrations_make_them() -> None:
    plugin = orion_plugin()
    assert await drift("storage", plugin.tables, plugin.migrations) == []


async def test_every_key_appears_once_while_others_are_written(database_url: str) -> None:
    """T3: 10,000 of them, in byte order of the key, the same on both databases."""
    async with storage(database_url, work=False) as kit:
        template = await kit.put("zz", b"x")
        row = await StorageObject.objects().first()
        assert row is not None
        chars = random.Random(3)
        made: set[str] = set()
        while len(made) < 10_000:
            made.add("".join(chars.choices("aZ0-_%é日🎉 ", k=6)))
        keys = sorted(made, key=str.encode)
        for at in range(0, len(keys), 200):
            await StorageObject.insert(
                *(
                    StorageObject(**{**row.to_dict(), "id": _id(number), "key": key.encode(), "blob_key": key[:1]})
                    for number, key in enumerate(keys[at : at + 200], at)
                )
            )
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await kit.service.objects("bucket", "", "", cursor, 100)
            found += [item.key for item in page.items]
            cursor = page.next_cursor
            await kit.put(f"a{len(found)}", b"new")
        assert [key for key in found if key in made] == keys
        assert len(found) == len(set(found))
        assert template.info.key in found


def _id(number: int) -> Any:
    from uuid import UUID

    return UUID(int=number + 10**30)


async def test_folders_are_told_once_however_much_is_in_them(database_url: str) -> None:
    """T3."""
    async with storage(database_url, work=False) as kit:
        for number in range(30):
            await kit.put(f"f/{number:02}", b"x")
        for key in ("a", "f", "f0", "g//".strip("/") + "/x"):
            await kit.put(key, b"x")
        for limit in (1, 2, 5, 100):
            assert sorted(await all_keys(kit, delimiter="/", limit=limit)) == ["a", "f", "f/", "f0", "g/"]
        assert await all_keys(kit, "f/", "/", 7) == [f"f/{number:02}" for number in range(30)]
        assert await all_keys(kit, "f/0", "", 3) == [f"f/0{number}" for number in range(10)]
        assert await all_keys(kit, "nothing") == []


async def test_of_many_writers_each_sees_one_whole_version(database_url: str) -> None:
    """T4: last write wins, and no reader sees a mixture."""
    async with storage(database_url, work=False) as kit:
        contents = [bytes([number]) * 1000 for number in range(20)]
        results = await asyncio.gather(*(upload(kit, "a", content) for content in contents))
        assert [result.created for result in results].count(True) == 1
        assert sorted(result.info.version for result in results) == list(range(1, 21))
        assert await kit.read("a") in contents
        assert len(await kit.told(ObjectCreated)) == 1
        assert sorted(event.version for event in await kit.told(ObjectReplaced)) == list(range(2, 21))


async def test_of_many_creators_one_succeeds(database_url: str) -> None:
    """T4."""
    async with storage(database_url, work=False) as kit:

        async def create(number: int) -> bool:
            try:
                await upload(kit, "a", b"%d" % number, condition=Condition(if_none_match=("*",)))
            except ConditionFailed:
                return False
            return True

        assert sorted(await asyncio.gather(*(create(number) for number in range(20)))) == [False] * 19 + [True]


async def test_of_many_who_replace_one_version_one_succeeds(database_url: str) -> None:
    """T4."""
    async with storage(database_url, work=False) as kit:
        first = await kit.put("a", b"first")

        async def replace(number: int) -> bool:
            try:
                await upload(kit, "a", b"%d" % number, condition=Condition(if_match=(first.info.sha256,)))
            except ConditionFailed:
                return False
            return True

        assert sorted(await asyncio.gather(*(replace(number) for number in range(10)))) == [False] * 9 + [True]


async def test_copies_both_ways_at_once_do_not_block_each_other(database_url: str) -> None:
    """T5."""
    async with storage(database_url, work=False) as kit:
        await kit.put("a", b"a")
        await kit.put("b", b"b")
        ways = [("a", "b"), ("b", "a")] * 10
        async with asyncio.timeout(30):
            await asyncio.gather(*(kit.service.copy(CopyObject("bucket", one, "bucket", two)) for one, two in ways))
        assert await kit.read("a") in (b"a", b"b")


async def test_of_many_who_move_one_object_one_succeeds(database_url: str) -> None:
    """T5."""
    async with storage(database_url, work=False) as kit:
        made = await kit.put("a", b"content")

        async def move(number: int) -> bool:
            try:
                await kit.service.move(CopyObject("bucket", "a", "bucket", f"to/{number}"))
            except NoSuchObject:
                return False
            return True

        assert sorted(await asyncio.gather(*(move(number) for number in range(8)))) == [False] * 7 + [True]
        (key,) = await all_keys(kit)
        assert await kit.read(key) == b"content"
        assert [event.object_id for event in await kit.told(ObjectMoved)] == [made.info.id]


async def test_a_move_onto_another_object_replaces_it(database_url: str) -> None:
    """T5."""
    async with storage(database_url) as kit:
        await kit.put("a", b"a")
        target = await kit.put("b", b"b")
        moved = await kit.service.move(CopyObject("bucket", "a", "bucket", "b"))
        assert not moved.created
        assert await kit.read("b") == b"a"
        assert await all_keys(kit) == ["b"]
        assert [event.object_id for event in await kit.told(ObjectDeleted)] == [target.info.id]
        same = await kit.service.move(CopyObject("bucket", "b", "bucket", "b"))
        assert same.info == moved.info
        await kit.advance(timedelta(minutes=6))
        await kit.settle()
        assert len(await kit.blob_keys()) == 1


async def test_bytes_stay_as_long_as_an_object_needs_them(database_url: str) -> None:
    """T5, T8: a copy shares the bytes, and outlives the original."""
    async with storage(database_url) as kit:
        await kit.put("a", b"shared")
        await kit.service.copy(CopyObject("bucket", "a", "bucket", "b"))
        assert len(await kit.blob_keys()) == 1
        await kit.service.delete("bucket", "a")
        await kit.advance(timedelta(minutes=6))
        await kit.settle()
        assert await kit.read("b") == b"shared"
        await kit.service.delete("bucket", "b")
        await kit.advance(timedelta(minutes=6))
        await kit.settle()
        assert await kit.blob_keys() == set()


async def test_replaced_bytes_stay_for_those_who_read_them(database_url: str) -> None:
    """T35."""
    async with storage(database_url) as kit:
        await kit.put("a", b"one")
        before = await kit.service.open("bucket", "a")
        await kit.put("a", b"two")
        await kit.settle()
        assert b"".join([piece async for piece in kit.blobs.get(before.blob_key)]) == b"one"
        await kit.advance(timedelta(minutes=6))
        await kit.settle()
        assert len(await kit.blob_keys()) == 1


async def test_no_two_versions_have_the_same_date(database_url: str) -> None:
    """T33: an exact date in If-Range names one version."""
    async with storage(database_url, work=False) as kit:
        seconds = [(await kit.put("a", b"%d" % number)).info.modified_at.replace(microsecond=0) for number in range(4)]
        assert len(set(seconds)) == 4


async def test_an_upload_is_finished_once_and_in_time(database_url: str) -> None:
    """T7."""
    async with storage(database_url) as kit:
        begun = await kit.service.begin_upload(NewUpload("bucket", "a", "", b""))
        assert begun.max_size == 5 * 1024**3
        await kit.blobs.put(begun.blob_key, one(b"x"))
        await kit.service.finish_upload(begun.id, 1, "0" * 64)
        with pytest.raises(NoSuchUpload):
            await kit.service.finish_upload(begun.id, 1, "0" * 64)
        await kit.service.abandon_upload(begun.id)
        await kit.settle()
        assert await kit.read("a") == b"x"
        late = await kit.service.begin_upload(NewUpload("bucket", "b", "", b""))
        await kit.advance(timedelta(days=1, seconds=1))
        with pytest.raises(NoSuchUpload):
            await kit.service.finish_upload(late.id, 1, "0" * 64)


async def test_a_finish_above_the_limit_is_refused(database_url: str) -> None:
    """T13: the service does not rely on those who count."""
    async with storage(database_url, work=False) as kit:
        await kit.service.change_bucket("bucket", BucketChange(max_size=3))
        begun = await kit.service.begin_upload(NewUpload("bucket", "a", "", b""))
        with pytest.raises(ObjectTooLarge):
            await kit.service.finish_upload(begun.id, 4, "0" * 64)
        await kit.service.abandon_upload(begun.id)
        with pytest.raises(NoSuchObject):
            await kit.service.open("bucket", "a")


async def test_an_upload_into_a_bucket_that_goes_meanwhile_is_refused(database_url: str) -> None:
    async with storage(database_url, work=False) as kit:
        begun = await kit.service.begin_upload(NewUpload("bucket", "a", "", b""))
        await kit.service.delete_bucket("bucket")
        with pytest.raises(NoSuchBucket):
            await kit.service.finish_upload(begun.id, 1, "0" * 64)


async def test_a_bucket_goes_only_while_it_is_empty(database_url: str) -> None:
    """Deleting and uploading at once: either the object is in a bucket, or there is neither."""
    for _ in range(5):
        async with storage(database_url, work=False) as kit:
            name = "bucket"
            uploaded, deleted = await asyncio.gather(
                upload(kit, "a", b"x"), kit.service.delete_bucket(name), return_exceptions=True
            )
            if isinstance(uploaded, Error):
                assert deleted is None
                assert await StorageObject.count() == 0
            else:
                assert isinstance(deleted, BucketNotEmpty)
                assert await kit.read("a") == b"x"
                await kit.service.delete("bucket", "a")
                await kit.service.delete_bucket(name)


async def test_signed_urls_end_with_the_clock_and_with_their_person(database_url: str) -> None:
    """T36."""
    async with storage(database_url, work=False, public_url="https://x.example/") as kit:
        await kit.put("ä b", b"x")
        made = await kit.service.sign(SignUrl("GET", "bucket", "a\u0308 b", expires_in=60))
        assert made.url.startswith("https://x.example/api/v1/storage/buckets/bucket/objects/%C3%A4%20b?signature=")
        signature = made.url.partition("signature=")[2]
        with as_person(GRACE):
            assert (await kit.service.open("bucket", "ä b", signature)).info.key == "ä b"
            with pytest.raises(BadSignature):
                await kit.service.open("bucket", "other", signature)
        await kit.advance(timedelta(seconds=61))
        with pytest.raises(SignatureExpired):
            await kit.service.open("bucket", "ä b", signature)


async def test_reads_of_personal_data_are_recorded_first(database_url: str) -> None:
    """T9."""
    async with storage(database_url, work=False) as kit:
        await kit.service.create_bucket(NewBucket("personal", sensitivity="personal"))
        made = await kit.put("a", b"x", "personal")
        await kit.put("a", b"x")
        await kit.service.open("bucket", "a")
        with as_person(GRACE), pytest.raises(NoSuchBucket):
            await kit.service.open("personal", "a")
        assert await StorageRead.count() == 0
        with as_person(GRACE, "storage:read"):
            await kit.service.open("personal", "a")
        signature = (await kit.service.sign(SignUrl("GET", "personal", "a"))).url.partition("signature=")[2]
        with as_person(GRACE):
            await kit.service.open("personal", "a", signature)
        rows = await StorageRead.objects().order_by(StorageRead.id)
        assert [(row.actor, row.owner_id, row.object_id, row.signed) for row in rows] == [
            (f"user:{GRACE}", ADA, made.info.id, False),
            (f"user:{ADA}", ADA, made.info.id, True),
        ]


async def test_shared_caches_forget_what_changes(database_url: str) -> None:
    """T38: purged on write and delete, only what may be cached."""
    async with storage(database_url, public_url="https://x.example", purge_url="https://cdn.example/purge") as kit:
        await kit.put("private", b"x")
        await kit.service.create_bucket(NewBucket("public", visibility="public"))
        await kit.put("a b", b"1", "public")
        await kit.put("a b", b"2", "public")
        await kit.service.move(CopyObject("public", "a b", "public", "c"))
        await kit.service.delete("public", "c")
        await kit.settle()
        at = "https://x.example/api/v1/storage/buckets/public/objects/"
        one, two = (hashlib.sha256(content).hexdigest() for content in (b"1", b"2"))
        assert sorted(kit.purged.urls) == sorted(
            [f"{at}a%20b"] * 3 + [f"{at}c"] * 2 + [f"{at}a%20b?v={one}", f"{at}a%20b?v={two}", f"{at}c?v={two}"]
        )
        await kit.service.change_bucket("public", BucketChange(visibility="private"))
        await kit.settle()
        assert kit.purged.tags == ["orion-bucket-public"]


async def test_without_a_shared_cache_nothing_is_enqueued(database_url: str) -> None:
    async with storage(database_url, work=False) as kit:
        await kit.service.create_bucket(NewBucket("public", visibility="public"))
        await kit.put("a", b"1", "public")
        rows = await kit.service.db.fetch("SELECT type FROM orion_jobs WHERE type LIKE $1", "%purge_caches%")
        assert rows == []


async def test_erasing_a_person_leaves_nothing_of_theirs(database_url: str) -> None:
    """T11: objects, pictures, uploads, rights; what others put into their buckets stays."""
    async with storage(database_url) as kit:
        await kit.service.create_bucket(NewBucket("shared"))
        await kit.service.grant("shared", NewGrant("everybody", "write"))
        for number in range(5):
            await kit.put(f"a{number}", b"ada")
        await kit.put("ada", b"ada", "shared")
        await kit.service.begin_upload(NewUpload("bucket", "half", "", b""))
        url = (await kit.service.sign(SignUrl("PUT", "shared", "later"))).url
        with as_person(GRACE):
            await kit.service.create_bucket(NewBucket("grace"))
            await kit.service.grant("grace", NewGrant(f"user:{ADA}", "write"))
            await kit.put("grace", b"grace", "shared")
        async with kit.service.db.transaction():
            await kit.service.forget(UserErased(ADA, kit.clock.now()))
        await kit.settle()
        with acting(SYSTEM):
            assert [bucket.name for bucket in (await kit.service.buckets("", 50)).items] == ["grace", "shared"]
            assert (await kit.service.bucket("shared")).owner_id is None
            assert (await kit.service.grants("grace")).items == ()
            assert await kit.read("grace", "shared") == b"grace"
        rows = await StorageObject.select(StorageObject.owner_id)
        assert [row["owner_id"] for row in rows] == [GRACE]
        assert await StorageUpload.count() == 0
        assert len(await kit.blob_keys()) == 1
        assert len(await kit.told(ObjectDeleted)) == 6
        assert {event_type(type(event)).name for event in await kit.told(ObjectDeleted)} == {"storage.object_deleted"}
        signature = url.partition("signature=")[2]
        with pytest.raises(Error) as caught:
            await kit.service.begin_upload(NewUpload("shared", "later", "", b"", signature=signature))
        assert caught.value.status == 403


async def test_erasing_the_owner_of_a_bucket_loses_nothing_that_is_coming_in() -> None:
    """T11: what somebody else puts into the bucket at that moment stays, and so does the bucket."""
    async with postgres_database() as url, storage(url, work=False) as kit:
        with as_person(GRACE):
            await kit.service.create_bucket(NewBucket("elsewhere"))
            await kit.put("theirs", b"theirs", "elsewhere")
        other = await open_database(Settings(database_url=url), "storage")
        outside = contextvars.copy_context()
        try:
            async with other.transaction():
                # As an upload that is just being finished: it holds the bucket, and its object is not to be seen yet.
                (bucket,) = await other.fetch("SELECT id FROM storage_buckets WHERE name = 'bucket' FOR SHARE")
                await other.fetch("UPDATE storage_objects SET bucket_id = $1", bucket["id"])
                erasing = asyncio.create_task(kit.service.forget_person(ADA), context=outside)
                await engines.until(lambda: waits_for_lock(other), "waiting for the upload")
            await erasing
        finally:
            await other.aclose()
        with acting(SYSTEM):
            assert (await kit.service.bucket("bucket")).owner_id is None
            assert await kit.read("theirs") == b"theirs"


async def test_what_many_deletions_ask_of_the_database_does_not_grow_with_them(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T5: the rights of the caller are read once."""
    async with storage(database_url, work=False) as kit:
        await kit.service.grant("bucket", NewGrant(f"user:{GRACE}", "write", "a"))
        asked = 0
        real = rights._grants

        async def counted(*given: Any) -> Any:
            nonlocal asked
            asked += 1
            return await real(*given)

        monkeypatch.setattr(rights, "_grants", counted)
        with as_person(GRACE):
            found = await kit.service.delete_many("bucket", ("a", "b", "a/../b", *(f"a{each}" for each in range(500))))
        assert asked == 1
        assert [item.code for item in found.items[:3]] == ["", "storage.access_denied", "storage.invalid_key"]


async def test_an_upload_that_is_cancelled_while_it_begins_leaves_no_trace(database_url: str) -> None:
    """T14: nobody knows its id, so nobody else could abandon it."""
    async with storage(database_url, work=False) as kit:
        cancelled = 0
        for turns in range(0, 60, 2):
            task = asyncio.ensure_future(kit.service.begin_upload(NewUpload("bucket", "a", "", b"")))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            cancelled += task.cancelled()
            if not task.cancelled():
                await kit.service.abandon_upload(task.result().id)
            assert await StorageUpload.count() == 0, turns
        assert cancelled


async def test_of_many_buckets_made_at_once_as_many_as_allowed_remain(database_url: str) -> None:
    """T1: a limit that counts and then writes would let all of them in."""
    async with storage(database_url, work=False, buckets_per_person=3) as kit:

        async def create(number: int) -> bool:
            try:
                await kit.service.create_bucket(NewBucket(f"bucket-{number}"))
            except TooManyBuckets:
                return False
            return True

        assert sorted(await asyncio.gather(*(create(number) for number in range(12)))) == [False] * 10 + [True] * 2
