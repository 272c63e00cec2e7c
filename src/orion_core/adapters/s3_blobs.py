"""Blobs in S3 and compatible stores."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from orion_core.adapters._blobs import check_key
from orion_core.errors import StartRefused
from orion_core.ports.blobs import CHUNK, BlobInfo, BlobsUnavailable, NoSuchBlob
from orion_core.ports.check import Check

try:
    import obstore
    from obstore.store import S3Store
except ImportError as error:
    raise StartRefused(
        ["ORION_BLOBS_URL=s3:… needs the extra s3; install it with: pip install 'orion-platform[s3]'"]
    ) from error

_PART = 8 * 1024 * 1024
"""Bytes of one part; S3 wants at least 5 MiB, and takes 10,000 parts."""
_WINDOW = 4 * 1024 * 1024
"""Bytes asked for at once when reading: a slow reader holds no request open."""
_AT_ONCE = 4
_OPTIONS = {"endpoint", "region", "path_style"}


class S3Blobs:
    """Keeps the port `Blobs` in a bucket that exists already.

    The URL is ``s3://bucket/prefix?endpoint=https://host&region=eu-central-1&path_style=true``; the prefix and all
    options may be left out. Keys come from the user and password of the URL, or from the environment as for the
    tools of AWS (``AWS_ACCESS_KEY_ID`` and so on), instance roles included. A blob above 8 MiB goes up in parts, which
    are given up when the put fails or is cancelled.
    """

    def __init__(self, url: str, *, attempts: int = 5) -> None:
        parts = urlsplit(url)
        query = {name: texts[-1] for name, texts in parse_qs(parts.query).items()}
        if not parts.hostname:
            raise StartRefused(["ORION_BLOBS_URL names no bucket: write s3://bucket"])
        if unknown := set(query) - _OPTIONS:
            raise StartRefused(
                [f"ORION_BLOBS_URL: {', '.join(sorted(unknown))} is no option; known are {', '.join(sorted(_OPTIONS))}"]
            )
        self._bucket = parts.hostname
        config: Any = {name: query[name] for name in ("endpoint", "region") if name in query}
        if parts.username:
            config["access_key_id"] = unquote(parts.username)
            config["secret_access_key"] = unquote(parts.password or "")
        path_style = query.get("path_style", "true" if "endpoint" in query else "false")
        config["virtual_hosted_style_request"] = path_style.lower() in ("false", "0", "no")
        prefix = unquote(parts.path).strip("/")
        self._store: Any = S3Store(
            self._bucket,
            prefix=prefix or None,
            config=config,
            client_options={
                "allow_http": query.get("endpoint", "").startswith("http://"),
                "connect_timeout": "5 seconds",
                "timeout": "30 seconds",
            },
            retry_config={"max_retries": attempts, "retry_timeout": timedelta(seconds=20)},
        )

    def __repr__(self) -> str:
        return f"S3Blobs({self._bucket!r})"

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Store `pieces` under `key` and return how many bytes there were; raises `BlobsUnavailable`."""
        check_key(key)
        first = bytearray()
        async for piece in pieces:
            first += piece
            if len(first) >= _PART:
                return await self._put_parts(key, bytes(first), pieces)
        sending = asyncio.ensure_future(obstore.put_async(self._store, key, bytes(first), use_multipart=False))
        try:
            with self._failures():
                await asyncio.shield(sending)
        except asyncio.CancelledError:
            await self._undo(key, sending)
            raise
        return len(first)

    async def _put_parts(self, key: str, first: bytes, pieces: AsyncIterator[bytes]) -> int:
        # The library gives the parts up when its input raises, and not when it is cancelled. So it reads from a queue,
        # into which every way to end is put.
        queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(1)

        async def parts() -> AsyncIterator[bytes]:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise _GivenUp from item
                yield item

        sending = asyncio.ensure_future(
            obstore.put_async(self._store, key, parts(), chunk_size=_PART, max_concurrency=_AT_ONCE)
        )
        size = len(first)
        try:
            taken = await _offer(queue, first, sending)
            async for piece in pieces:
                if not taken:
                    break
                size += len(piece)
                taken = await _offer(queue, piece, sending)
            if taken:
                await _offer(queue, None, sending)
            with self._failures():
                await asyncio.shield(sending)
        except BaseException as error:
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(error)
            await self._undo(key, sending)
            raise
        return size

    async def _undo(self, key: str, sending: asyncio.Future[Any]) -> None:
        await asyncio.wait([sending])
        if sending.exception() is None:
            # It was whole already when the cancellation came.
            with contextlib.suppress(BlobsUnavailable):
                await asyncio.shield(self.delete(key))

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, piece by piece; raises `NoSuchBlob` and `BlobsUnavailable`."""
        check_key(key)
        with self._failures(key):
            size = (await obstore.head_async(self._store, key))["size"]
        stop = size if stop is None else min(stop, size)
        ahead: asyncio.Future[Any] | None = None
        try:
            while start < stop:
                end = min(start + _WINDOW, stop)
                with self._failures(key):
                    data = await (ahead or self._window(key, start, end))
                start = end
                ahead = self._window(key, start, min(start + _WINDOW, stop)) if start < stop else None
                view = memoryview(data)
                for at in range(0, len(view), CHUNK):
                    yield bytes(view[at : at + CHUNK])
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.wait([ahead])

    def _window(self, key: str, start: int, end: int) -> asyncio.Future[Any]:
        return asyncio.ensure_future(obstore.get_range_async(self._store, key, start=start, end=end))

    async def delete(self, *keys: str) -> None:
        """Remove blobs; raises `BlobsUnavailable`."""
        for key in keys:
            check_key(key)
        with self._failures():
            for at in range(0, len(keys), 1000):
                await obstore.delete_async(self._store, keys[at : at + 1000])

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """All blobs whose keys begin with `prefix`; raises `BlobsUnavailable`."""
        # The library knows whole segments only.
        folder = prefix.rpartition("/")[0]
        pages = obstore.list(self._store, folder or None)
        while True:
            with self._failures():
                page = await anext(pages, None)
            if page is None:
                return
            for item in page:
                if item["path"].startswith(prefix):
                    yield BlobInfo(item["path"], item["size"], item["last_modified"])

    async def check(self) -> Check:
        """``pass``, or ``fail`` when the bucket cannot be read."""
        try:
            with self._failures():
                await obstore.list_with_delimiter_async(self._store, "health")
        except BlobsUnavailable as error:
            return Check("fail", error.detail)
        return Check("pass")

    async def aclose(self) -> None:
        """The library closes its connections by itself."""

    @contextlib.contextmanager
    def _failures(self, key: str = "") -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, obstore.exceptions.NotFoundError) as error:
            if key:
                raise NoSuchBlob(f"there is no blob {key}") from None
            raise BlobsUnavailable(f"the bucket {self._bucket} does not exist") from error
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            # The text holds the whole exchange: for the log, as its cause, and not for clients.
            raise BlobsUnavailable(f"the bucket {self._bucket} cannot be used: {type(error).__name__}") from error


class _GivenUp(Exception):
    """Ends the input of a put."""


async def _offer(
    queue: asyncio.Queue[bytes | BaseException | None], item: bytes | None, sending: asyncio.Future[Any]
) -> bool:
    """Put `item` into `queue`; False when nobody reads it any more."""
    putting = asyncio.ensure_future(queue.put(item))
    try:
        await asyncio.wait([putting, sending], return_when=asyncio.FIRST_COMPLETED)
        return not sending.done()
    finally:
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
