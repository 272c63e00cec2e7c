"""Answers whose body is a blob: conditions, ranges, cache rules and safe headers; the bytes are streamed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, cast

import attrs
from litestar import Response

from orion_core.contracts.storage import ConditionFailed
from orion_core.errors import Error
from orion_core.ports.blobs import Blobs
from orion_plugins.storage import ranges
from orion_plugins.storage.conditions import evaluate, http_date, range_applies

SAFE = {"X-Content-Type-Options": "nosniff"}
"""Headers of every answer (T30)."""
_LOCKED = {**SAFE, "Content-Security-Policy": "sandbox; default-src 'none'"}
Send = Callable[[Any], Awaitable[None]]


class RangeNotSatisfiable(Error):
    """None of the ranges lies within the object; answers 416 with the size in Content-Range."""

    status = 416
    title = "Range not satisfiable"
    code = "storage.range_not_satisfiable"


@attrs.frozen
class Representation:
    """What is to be sent. `extra` are headers of both 200 and 304."""

    blob_key: str
    size: int
    tag: str
    content_type: str
    modified: datetime
    extra: Mapping[str, str]


def answer(
    method: str, headers: Mapping[str, str], found: Representation, blobs: Blobs, now: datetime, disposition: str
) -> Response[Any]:
    """The answer to a read of `found`, in the order of RFC 9110, section 13.2.2: a 304 outranks a 206.

    Raises `ConditionFailed` (412).
    """
    kept = {**SAFE, "ETag": f'"{found.tag}"', **found.extra}
    if found.modified.replace(microsecond=0) < now.replace(microsecond=0):
        # While its second lasts, there may be another version with the same date (section 8.8.2.2).
        kept["Last-Modified"] = http_date(found.modified)
    outcome = evaluate(method, headers, found.tag, found.modified)
    if outcome == "failed":
        raise ConditionFailed("the object is not what the request's conditions ask for")
    if outcome == "not modified":
        return Blob(304, kept, blobs, "", ())
    full = {
        **_LOCKED,
        **kept,
        "Accept-Ranges": "bytes",
        "Content-Type": found.content_type,
        "Content-Disposition": disposition,
    }
    wanted = None
    if method == "GET" and "range" in headers and range_applies(headers, found.tag, found.modified):
        wanted = ranges.parse(headers["range"], found.size)
    if wanted is None:
        full["Content-Length"] = str(found.size)
        everything = () if method == "HEAD" else (ranges.Range(0, found.size),)
        return Blob(200, full, blobs, found.blob_key, everything)
    if not wanted:
        return Refused(f"bytes */{found.size}")
    if len(wanted) == 1:
        full["Content-Range"] = wanted[0].content_range(found.size)
        full["Content-Length"] = str(wanted[0].size)
        return Blob(206, full, blobs, found.blob_key, wanted)
    boundary = secrets.token_hex(16)
    heads = [_part_head(boundary, found, each) for each in wanted]
    tail = f"\r\n--{boundary}--\r\n".encode()
    full["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    full["Content-Length"] = str(sum(map(len, heads)) + sum(each.size for each in wanted) + len(tail))
    return Blob(206, full, blobs, found.blob_key, wanted, heads, tail)


def _part_head(boundary: str, found: Representation, part: ranges.Range) -> bytes:
    return (
        f"\r\n--{boundary}\r\nContent-Type: {found.content_type}\r\n"
        f"Content-Range: {part.content_range(found.size)}\r\n\r\n"
    ).encode("latin-1")


class Refused(Response[Any]):
    """416: it is no error of the service, but an answer with a header of its own."""

    def __init__(self, content_range: str) -> None:
        super().__init__(None, headers={**SAFE, "Content-Range": content_range, "Cache-Control": "no-store"})

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> Any:
        """The problem document."""
        from orion_core.web.asgi import answer_problem

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await answer_problem(scope, send, RangeNotSatisfiable("no range lies within the object"), self.headers)

        return app


class Blob(Response[Any]):
    """A response with `parts` of a blob as its body, each behind its head, streamed piece by piece.

    When the client leaves, or the store fails, nothing more is read; in the latter case the connection is cut, so that
    nobody takes what came for whole.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        blobs: Blobs,
        blob_key: str,
        parts: Sequence[ranges.Range],
        heads: Sequence[bytes] = (),
        tail: bytes = b"",
    ) -> None:
        super().__init__(None, status_code=status, headers=dict(headers))
        self._blobs, self._blob_key, self._parts, self._heads, self._tail = blobs, blob_key, parts, heads, tail
        self._begun: tuple[AsyncIterator[bytes], bytes] | None = None

    async def begin(self) -> None:
        """Read the first piece, so that a blob that has gone is noticed before anything is answered.

        Raises `NoSuchBlob` and `BlobsUnavailable`. Must be called, and leads to a response that must be sent.
        """
        if self._parts and self._parts[0].size:
            pieces = self._blobs.get(self._blob_key, self._parts[0].start, self._parts[0].stop)
            try:
                self._begun = pieces, await anext(pieces)
            except BaseException:
                await cast(Any, pieces).aclose()
                raise

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> Any:
        """The response itself is the application."""
        return self._app

    async def _app(self, scope: Any, receive: Any, send: Send) -> None:
        gone = asyncio.ensure_future(_departure(receive))
        try:
            raw = [(name.lower().encode(), text.encode("latin-1")) for name, text in self.headers.items()]
            await send({"type": "http.response.start", "status": self.status_code, "headers": raw})
            async with aclosing(self._body()) as pieces:
                async for piece in pieces:
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            if self._begun is not None:
                await cast(Any, self._begun[0]).aclose()

    async def _body(self) -> Any:
        for number, part in enumerate(self._parts):
            if self._heads:
                yield self._heads[number]
            if not part.size:
                continue
            if number == 0 and self._begun is not None:
                pieces, first = self._begun
            else:
                pieces, first = self._blobs.get(self._blob_key, part.start, part.stop), b""
            left = part.size - len(first)
            async with aclosing(cast(Any, pieces)):
                if first:
                    yield first
                async for piece in pieces:
                    left -= len(piece)
                    yield piece
            if left:
                raise RuntimeError(f"the blob {self._blob_key} is shorter than it should be")
        if self._tail:
            yield self._tail


async def _departure(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
