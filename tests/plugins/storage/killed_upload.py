"""Uploads one object and kills itself at the step whose number it is given, -1 for the last; run by test_kills.py."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage_kit import storage, upload

from orion_core.adapters import file_blobs
from orion_core.adapters.file_blobs import FileBlobs
from orion_core.testing.clock import MovableClock
from orion_plugins.storage.service import StorageService

_passed = 0


def step(last: int) -> None:
    global _passed
    _passed += 1
    if _passed == last:
        os.kill(os.getpid(), signal.SIGKILL)


def around(holder: Any, name: str, last: int) -> None:
    """Make the beginning and the end of a function steps."""
    real: Callable[..., Any] = getattr(holder, name)

    if asyncio.iscoroutinefunction(real):

        async def with_steps(*args: Any, **kwargs: Any) -> Any:
            step(last)
            result = await real(*args, **kwargs)
            step(last)
            return result

        setattr(holder, name, with_steps)
        return

    def plain_with_steps(*args: Any, **kwargs: Any) -> Any:
        step(last)
        result = real(*args, **kwargs)
        step(last)
        return result

    setattr(holder, name, plain_with_steps)


async def main(folder: Path, last: int, content: bytes) -> None:
    blobs = FileBlobs(folder / "blobs", MovableClock())
    async with storage(f"sqlite:///{folder}/storage.db", blobs=blobs, work=False) as kit:
        for name in ("create", "write", "sync", "rename"):
            around(file_blobs._File, name, last)
        around(os, "fsync", last)
        around(Path, "rename", last)
        for name in ("begin_upload", "finish_upload"):
            around(StorageService, name, last)
        around(type(kit.service.events), "publish", last)
        await upload(kit, "a", content)
        if last < 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode() * 100_000))
