"""Blobs as files in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from orion_core.adapters._blobs import check_key
from orion_core.ports.blobs import CHUNK, BlobInfo, BlobsUnavailable, NoSuchBlob
from orion_core.ports.check import Check
from orion_core.ports.clock import Clock

T = TypeVar("T")
_UNFINISHED = ".unfinished"
_FORGOTTEN = timedelta(days=1)


class FileBlobs:
    """Keeps the port `Blobs` with one file per blob below `folder`, which is made when needed.

    A blob is written under another name, synced, renamed, and its folders synced: it appears whole and durable, or not
    at all. What a killed process left unfinished is removed by a later `put` once it is a day old. Only the owner may
    read the files. The disk is never touched from the event loop's thread, and no more than two pieces are in memory.
    """

    def __init__(self, folder: Path | str, clock: Clock) -> None:
        self._folder = Path(folder)
        self._clock = clock
        self._durable: set[Path] = set()

    def __repr__(self) -> str:
        return f"FileBlobs({str(self._folder)!r})"

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Store `pieces` under `key` and return how many bytes there were; raises `BlobsUnavailable`."""
        target = self._path(key)
        draft = _File(self._folder / _UNFINISHED / uuid4().hex)
        size = 0
        buffer = bytearray()
        try:
            await self._thread(self._forget_unfinished)
            await self._thread(draft.create)
            async for piece in pieces:
                buffer += piece
                if len(buffer) >= CHUNK:
                    size += await self._thread(draft.write, bytes(buffer))
                    buffer.clear()
            size += await self._thread(draft.write, bytes(buffer))
            await self._thread(draft.sync, self._clock.now())
            await self._thread(self._keep_folder, target.parent)
            await self._thread(draft.rename, target)
        except BaseException:
            # Nobody may see half a blob, not even by cancelling twice.
            await asyncio.shield(asyncio.to_thread(draft.discard))
            raise
        return size

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, piece by piece; raises `NoSuchBlob` and `BlobsUnavailable`."""
        file = _File(self._path(key))
        try:
            try:
                await self._thread(file.open, start)
            except BlobsUnavailable as error:
                if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
                    raise NoSuchBlob(f"there is no blob {key}") from None
                raise
            left = None if stop is None else stop - start
            while left is None or left > 0:
                piece = await self._thread(file.read, CHUNK if left is None else min(CHUNK, left))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece
        finally:
            file.close()

    async def delete(self, *keys: str) -> None:
        """Remove blobs; raises `BlobsUnavailable`."""
        paths = [self._path(key) for key in keys]
        for path in paths:
            await self._thread(_remove, path)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """All blobs whose keys begin with `prefix`; raises `BlobsUnavailable`."""
        folders = [self._folder]
        while folders:
            found, inner = await self._thread(self._entries, folders.pop(), prefix)
            folders += inner
            for info in found:
                yield info

    async def check(self) -> Check:
        """``pass``, or ``fail`` when the folder cannot be written."""
        try:
            await asyncio.to_thread(self._prepare)
        except OSError as error:
            return Check("fail", f"the folder of blobs {self._folder} cannot be written: {error.strerror}")
        return Check("pass")

    async def aclose(self) -> None:
        """Nothing is open between operations."""

    async def _thread(self, work: Callable[..., T], *args: object) -> T:
        """Run `work` in a thread, to its end even when cancelled: a file must not be closed under a writer."""
        running = asyncio.ensure_future(asyncio.to_thread(work, *args))
        try:
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])
                running.exception()
                raise
        except OSError as error:
            # Clients read this, and where the folder lies is none of their business: the cause tells the log.
            raise BlobsUnavailable(f"the folder of blobs fails: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._folder / key

    def _prepare(self) -> None:
        _make(self._folder)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")

    def _keep_folder(self, folder: Path) -> None:
        """Make `folder` and everything above it durable.

        That a folder exists says nothing: another put, or a process that was killed, may have just made it.
        """
        new = [each for each in (folder, *folder.parents) if each not in self._durable]
        _make(folder)
        for each in reversed(new):
            if each.is_relative_to(self._folder):
                _sync_folder(each.parent)
                self._durable.add(each)

    def _entries(self, folder: Path, prefix: str) -> tuple[Sequence[BlobInfo], Sequence[Path]]:
        found, inner = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name == _UNFINISHED:
                        continue
                    key = Path(entry.path).relative_to(self._folder).as_posix()
                    if entry.is_dir(follow_symlinks=False):
                        if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                            inner.append(Path(entry.path))
                    elif key.startswith(prefix):
                        with contextlib.suppress(FileNotFoundError):
                            state = entry.stat()
                            found.append(BlobInfo(key, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC)))
        except FileNotFoundError:
            pass
        return found, inner

    def _forget_unfinished(self) -> None:
        # What is being written has the machine's time, unlike a blob, whose time is the clock's.
        before = datetime.now(UTC) - _FORGOTTEN
        with contextlib.suppress(FileNotFoundError):
            for path in (self._folder / _UNFINISHED).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                        path.unlink()


class _File:
    """A file that is used in threads, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._target: Path | None = None

    def create(self) -> None:
        _make(self._path.parent)
        self._file = FileIO(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def open(self, start: int) -> None:
        self._file = FileIO(self._path)
        self._file.seek(start)

    def write(self, data: bytes) -> int:
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        return len(data)

    def read(self, wanted: int) -> bytes:
        assert self._file is not None
        return self._file.read(wanted)

    def sync(self, at: datetime) -> None:
        assert self._file is not None
        # Its time is the clock's, so that reconciliation compares like with like.
        os.utime(self._path, (at.timestamp(), at.timestamp()))
        os.fsync(self._file.fileno())
        self.close()

    def rename(self, target: Path) -> None:
        self._path.rename(target)
        self._target = target
        _sync_folder(target.parent)

    def discard(self) -> None:
        self.close()
        if self._file is not None:
            self._path.unlink(missing_ok=True)
        if self._target is not None:
            self._target.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()


def _make(folder: Path) -> None:
    """Make `folder` and what is missing above it, for the owner alone."""
    for each in reversed((folder, *folder.parents)):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # only there can a folder be opened and synced
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
