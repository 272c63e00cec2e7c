"""Kill -9 in the middle of an upload: the object is whole or not there, and nothing stays for ever."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from storage_kit import storage, upload

from orion_core.adapters.file_blobs import FileBlobs
from orion_core.context import SYSTEM, acting
from orion_core.contracts.storage import ObjectCreated, ObjectReplaced
from orion_core.testing.clock import MovableClock

SCRIPT = Path(__file__).with_name("killed_upload.py")
POINTS = 20


def run(folder: Path, point: int, content: str) -> int:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), str(point), content], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


async def test_a_kill_at_any_of_twenty_points_leaves_no_half_object(tmp_path: Path) -> None:
    """T7: a new object is whole or not there; one that is replaced is the old one or the new one."""

    template = tmp_path / "template"
    assert run(template, 0, "old") == 0

    def kill(point: int) -> tuple[int, int]:
        return point, run(shutil.copytree(template, tmp_path / str(point)), point, "newer")

    with ThreadPoolExecutor(2) as pool:
        ends = dict(pool.map(kill, [*range(1, POINTS + 1), -1]))
    assert set(ends.values()) == {-9}, "every point has to be reached"

    replaced = 0
    for point in ends:
        folder = tmp_path / str(point)
        blobs = FileBlobs(folder / "blobs", MovableClock())
        async with storage(f"sqlite:///{folder}/storage.db", blobs=blobs) as kit:
            content = await kit.read("a")
            assert content in (b"old" * 100_000, b"newer" * 100_000)
            found = await kit.service.open("bucket", "a")
            assert found.info.size == len(content)
            new = content.startswith(b"newer")
            assert len(await kit.told(ObjectCreated)) == 1
            assert len(await kit.told(ObjectReplaced)) == new
            replaced += new
            await upload(kit, "b", b"goes on")
            await kit.advance(timedelta(days=2))
            for _ in range(2):
                with acting(SYSTEM):
                    assert (await kit.service.collect(False)).missing == ()
                await kit.advance(timedelta(minutes=10))
                await kit.settle()
            assert len(await kit.blob_keys()) == 2
    assert 0 < replaced < POINTS, "kills before and after the commit"
