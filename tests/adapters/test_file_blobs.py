"""Blobs as files: whole, durable, private."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from orion_core.adapters.file_blobs import FileBlobs
from orion_core.ports.blobs import Blobs, BlobsUnavailable
from orion_core.testing.clock import MovableClock
from orion_core.testing.suites.blobs import BlobsSuite, pieces_of, read


class TestFileBlobs(BlobsSuite):
    @asynccontextmanager
    async def blobs(self) -> AsyncIterator[Blobs]:
        with tempfile.TemporaryDirectory() as parent:
            self.folder = Path(parent) / "not" / "there yet"
            blobs = FileBlobs(self.folder, MovableClock())
            yield blobs
            await blobs.aclose()

    async def check_leftovers(self, blobs: Blobs) -> None:
        assert [path for path in self.folder.rglob("*") if path.is_file()] == []


async def test_only_the_owner_may_read(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs", MovableClock())
    await blobs.put("a/b/c", pieces_of(b"x"))
    for path in (tmp_path / "blobs", *(tmp_path / "blobs").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


async def test_a_blob_is_dated_by_the_clock(tmp_path: Path) -> None:
    clock = MovableClock()
    clock.advance(timedelta(days=3))
    blobs = FileBlobs(tmp_path, clock)
    await blobs.put("a", pieces_of(b"x"))
    (info,) = [info async for info in blobs.list()]
    assert abs(info.written - clock.now()) < timedelta(minutes=1)


async def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    """T8."""
    blobs = FileBlobs(tmp_path, MovableClock())
    await blobs.put("a", pieces_of(b"x"))
    young, old = tmp_path / ".unfinished" / "young", tmp_path / ".unfinished" / "old"
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert [info.key async for info in blobs.list()] == ["a"]
    assert old.exists(), "whoever only looks removes nothing"
    await blobs.put("b", pieces_of(b"x"))
    assert young.exists()
    assert not old.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="tells open files by /proc")
async def test_what_a_put_returns_from_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T7: the bytes are synced before they have their name, then the folder that knows it, and those that know that
    folder, even if another put has made them a moment ago and has not come to sync them yet."""
    order: list[str] = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        order.append("bytes" if path.is_file() else str(path.relative_to(tmp_path)))
        real_sync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        order.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    (tmp_path / "blobs" / "objects" / "ab").mkdir(parents=True)
    blobs = FileBlobs(tmp_path / "blobs", MovableClock())
    await blobs.put("objects/ab/1", pieces_of(b"x"))
    assert order == ["bytes", ".", "blobs", "blobs/objects", "rename", "blobs/objects/ab"]
    order.clear()
    await blobs.put("objects/ab/2", pieces_of(b"x"))
    assert order == ["bytes", "rename", "blobs/objects/ab"]
    order.clear()
    await blobs.put("objects/cd/1", pieces_of(b"x"))
    assert order == ["bytes", "blobs/objects", "rename", "blobs/objects/cd"]


async def test_a_folder_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    blobs = FileBlobs(tmp_path / "file", MovableClock())
    with pytest.raises(BlobsUnavailable) as caught:
        await blobs.put("a", pieces_of(b"x"))
    assert str(tmp_path) not in str(caught.value)
    assert (await blobs.check()).status == "fail"


async def test_a_reader_keeps_what_is_deleted_meanwhile(tmp_path: Path) -> None:
    """T35: an object replaced during a download never mixes two versions."""
    blobs = FileBlobs(tmp_path, MovableClock())
    await blobs.put("a", pieces_of(b"x" * 600_000))
    pieces = blobs.get("a")
    first = await anext(pieces)
    await blobs.delete("a")
    assert first + b"".join([piece async for piece in pieces]) == b"x" * 600_000
    with pytest.raises(Exception, match="no blob"):
        await read(blobs, "a")
