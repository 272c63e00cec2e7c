"""What every store of blobs must do."""

from __future__ import annotations

import abc
import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime, timedelta

import pytest

from orion_core.ports.blobs import CHUNK, Blobs, NoSuchBlob

_LARGE = 11 * 1024 * 1024 + 7
"""More than one part of a multipart upload."""


class Torn(Exception):
    """The bytes ended too early."""


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """`pieces`, one after the other."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def torn_after(*pieces: bytes) -> AsyncIterator[bytes]:
    """`pieces`, and then an exception."""
    async for piece in pieces_of(*pieces):
        yield piece
    raise Torn


async def read(blobs: Blobs, key: str, start: int = 0, stop: int | None = None) -> bytes:
    """All bytes asked for, at once."""
    async with aclosing(blobs.get(key, start, stop)) as pieces:  # type: ignore[type-var]  # adapters give generators
        return b"".join([piece async for piece in pieces])


def pattern(size: int) -> Iterable[bytes]:
    """`size` bytes, different at every place, in pieces of uneven length."""
    block = bytes(range(251)) * 4000
    while size > 0:
        piece = block[: min(size, len(block))]
        size -= len(piece)
        yield piece


def new_key() -> str:
    """A key that nobody has used."""
    return f"objects/{uuid.uuid4().hex[-2:]}/{uuid.uuid4()}"


class BlobsSuite(abc.ABC):
    """The conformance suite of the port `Blobs`: a test class subclasses it and says how to open an empty store."""

    @abc.abstractmethod
    def blobs(self) -> AbstractAsyncContextManager[Blobs]:
        """An empty store; closed at the end."""

    @pytest.mark.parametrize("content", [b"", b"a", b"\x00\xff" * 500, b"x" * CHUNK, b"y" * (CHUNK + 1)])
    async def test_what_was_put_comes_back(self, content: bytes) -> None:
        """T40: put and get."""
        async with self.blobs() as blobs:
            key = new_key()
            assert await blobs.put(key, pieces_of(content[:3], b"", content[3:])) == len(content)
            assert await read(blobs, key) == content

    async def test_a_large_blob_comes_back_in_the_order_of_its_parts(self) -> None:
        """T40: multipart, part order."""
        async with self.blobs() as blobs:
            key, digest = new_key(), hashlib.sha256()
            for piece in pattern(_LARGE):
                digest.update(piece)
            assert await blobs.put(key, pieces_of(*pattern(_LARGE))) == _LARGE
            seen = hashlib.sha256()
            async with aclosing(blobs.get(key)) as pieces:  # type: ignore[type-var]  # adapters give generators
                async for piece in pieces:
                    assert len(piece) <= 4 * CHUNK
                    seen.update(piece)
            assert seen.digest() == digest.digest()
            assert await read(blobs, key, _LARGE - 5) == b"".join(pattern(_LARGE))[-5:]
            middle = 8 * 1024 * 1024
            assert await read(blobs, key, middle - 3, middle + 3) == b"".join(pattern(_LARGE))[middle - 3 : middle + 3]

    @pytest.mark.parametrize(
        ("start", "stop"), [(0, 1), (0, 10), (3, 7), (9, 10), (0, 99), (5, None), (10, None), (99, None), (4, 4)]
    )
    async def test_a_range_is_a_slice(self, start: int, stop: int | None) -> None:
        """T40: ranges."""
        async with self.blobs() as blobs:
            key = new_key()
            await blobs.put(key, pieces_of(b"0123456789"))
            assert await read(blobs, key, start, stop) == b"0123456789"[start:stop]

    async def test_an_empty_blob_has_empty_ranges(self) -> None:
        async with self.blobs() as blobs:
            key = new_key()
            assert await blobs.put(key, pieces_of()) == 0
            assert await read(blobs, key) == b""
            assert await read(blobs, key, 0, 5) == b""

    async def test_a_missing_blob_is_told_as_such(self) -> None:
        """T40: missing is 404."""
        async with self.blobs() as blobs:
            with pytest.raises(NoSuchBlob):
                await read(blobs, new_key())
            with pytest.raises(NoSuchBlob):
                await read(blobs, new_key(), 3, 5)

    async def test_deleting_removes_and_passes_over_what_is_not_there(self) -> None:
        """T40: delete."""
        async with self.blobs() as blobs:
            one, two, kept = new_key(), new_key(), new_key()
            for key in (one, two, kept):
                await blobs.put(key, pieces_of(b"x"))
            await blobs.delete(one, new_key(), two)
            await blobs.delete(one)
            await blobs.delete()
            assert [info.key async for info in blobs.list()] == [kept]
            with pytest.raises(NoSuchBlob):
                await read(blobs, one)

    async def test_the_list_tells_size_and_time(self) -> None:
        """T40: head, list."""
        async with self.blobs() as blobs:
            began = datetime.now(UTC) - timedelta(minutes=1)
            sizes = {f"a/{number}": number for number in range(5)} | {"ab/1": 2, "b/1/2": 3}
            for key, size in sizes.items():
                await blobs.put(key, pieces_of(b"x" * size))
            found = [info async for info in blobs.list()]
            assert {info.key: info.size for info in found} == sizes
            assert all(began <= info.written <= datetime.now(UTC) + timedelta(minutes=1) for info in found)
            for prefix in ("a", "a/", "a/3", "b/1", "b/1/", "c", "a/3/"):
                assert {info.key async for info in blobs.list(prefix)} == {
                    key for key in sizes if key.startswith(prefix)
                }

    async def test_an_empty_store_lists_nothing(self) -> None:
        async with self.blobs() as blobs:
            assert [info async for info in blobs.list()] == []

    @pytest.mark.parametrize("before", [(), (b"abc",), tuple(pattern(_LARGE))], ids=["nothing", "little", "much"])
    async def test_a_put_that_is_torn_leaves_nothing(self, before: tuple[bytes, ...]) -> None:
        """T14, T40: nothing is visible and nothing is left open, and the exception is the caller's own."""
        async with self.blobs() as blobs:
            key = new_key()
            with pytest.raises(Torn):
                await blobs.put(key, torn_after(*before))
            await self._nothing_left(blobs, key)

    @pytest.mark.parametrize("before", [(), (b"abc",), tuple(pattern(_LARGE))], ids=["nothing", "little", "much"])
    async def test_a_put_that_is_cancelled_leaves_nothing(self, before: tuple[bytes, ...]) -> None:
        """T14, T40: cancellation leaves no multipart."""
        async with self.blobs() as blobs:
            key, stalled = new_key(), asyncio.Event()

            async def stalling() -> AsyncIterator[bytes]:
                for piece in before:
                    yield piece
                stalled.set()
                await asyncio.Event().wait()

            task = asyncio.ensure_future(blobs.put(key, stalling()))
            await stalled.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await self._nothing_left(blobs, key)

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 50, 500])
    async def test_a_put_cancelled_anywhere_is_whole_or_nothing(self, turns: int) -> None:
        async with self.blobs() as blobs:
            key = new_key()
            task = asyncio.ensure_future(blobs.put(key, pieces_of(b"a" * CHUNK, b"b" * CHUNK)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if task.cancelled():
                await self._nothing_left(blobs, key)
            else:
                assert await read(blobs, key) == b"a" * CHUNK + b"b" * CHUNK

    async def test_nobody_sees_a_blob_before_it_is_whole(self) -> None:
        """T7."""
        async with self.blobs() as blobs:
            key, begun, go = new_key(), asyncio.Event(), asyncio.Event()

            async def slow() -> AsyncIterator[bytes]:
                yield b"a" * CHUNK
                begun.set()
                await go.wait()
                yield b"b"

            task = asyncio.ensure_future(blobs.put(key, slow()))
            await begun.wait()
            with pytest.raises(NoSuchBlob):
                await read(blobs, key)
            assert [info async for info in blobs.list()] == []
            go.set()
            assert await task == CHUNK + 1
            assert len(await read(blobs, key)) == CHUNK + 1

    async def test_the_source_is_read_no_faster_than_the_store_takes(self) -> None:
        """T13: memory is bounded by the size of a piece."""
        async with self.blobs() as blobs:
            key = new_key()
            assert await blobs.put(key, pieces_of(*(b"z" * 1000 for _ in range(3000)))) == 3_000_000
            assert await read(blobs, key, 2_999_990) == b"z" * 10

    async def test_many_at_once_do_not_disturb_each_other(self) -> None:
        async with self.blobs() as blobs:
            keys = {new_key(): bytes([number]) * (CHUNK + number) for number in range(12)}
            await asyncio.gather(*(blobs.put(key, pieces_of(content)) for key, content in keys.items()))
            found = await asyncio.gather(*(read(blobs, key) for key in keys))
            assert list(found) == list(keys.values())

    async def test_a_reader_may_leave_early(self) -> None:
        async with self.blobs() as blobs:
            key = new_key()
            await blobs.put(key, pieces_of(*pattern(3 * CHUNK)))
            async with aclosing(blobs.get(key)) as pieces:  # type: ignore[type-var]  # adapters give generators
                async for piece in pieces:
                    assert piece
                    break
            await blobs.delete(key)

    @pytest.mark.parametrize(
        "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b", "a b", "ä", "a\x00", "a\\b"]
    )
    async def test_what_is_no_key_is_refused(self, key: str) -> None:
        async with self.blobs() as blobs:
            with pytest.raises(ValueError, match="no key"):
                await blobs.put(key, pieces_of(b"x"))
            with pytest.raises(ValueError, match="no key"):
                await read(blobs, key)

    async def test_a_working_store_passes_its_check_and_closes_twice(self) -> None:
        async with self.blobs() as blobs:
            assert (await blobs.check()).status == "pass"
            await blobs.aclose()
            await blobs.aclose()

    async def _nothing_left(self, blobs: Blobs, key: str) -> None:
        with pytest.raises(NoSuchBlob):
            await read(blobs, key)
        assert [info async for info in blobs.list()] == []
        await self.check_leftovers(blobs)

    async def check_leftovers(self, blobs: Blobs) -> None:
        """Fail if the store keeps something of an unfinished put; where nothing can be seen of it, nothing is done."""
        return
