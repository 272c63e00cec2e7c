"""A small S3, for tests: one bucket in memory, as strict about uploads in parts as the real one."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs

LEAST = 5 * 1024 * 1024
"""Bytes of the smallest part that is not the last."""
BUCKET = "bucket"


@attrs.frozen
class Request:
    """One request, read to its end."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Answer:
    """What is answered."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = attrs.field(factory=dict)
    length: int | None = None


def problem(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


@attrs.define
class S3Server:
    """`objects` by key, `uploads` in parts that are still open, and the `refusals` that come before all else."""

    port: int = 0
    objects: dict[str, tuple[bytes, datetime]] = attrs.field(factory=dict)
    uploads: dict[str, dict[int, bytes]] = attrs.field(factory=dict)
    refusals: list[tuple[int, str]] = attrs.field(factory=list)
    seen: list[Request] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        """For `ORION_BLOBS_URL`."""
        return f"s3://key:secret@{BUCKET}?endpoint=http://127.0.0.1:{self.port}&region=us-east-1"

    def answer(self, request: Request) -> Answer:
        self.seen.append(request)
        if self.refusals:
            return problem(*self.refusals.pop(0))
        if request.key == "" and "delete" in request.query:
            keys = re.findall(r"<Key>(.*?)</Key>", request.body.decode())
            for key in keys:
                self.objects.pop(key, None)
            gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return Answer(body=f"<DeleteResult>{gone}</DeleteResult>".encode())
        if request.key == "":
            return self._list(request.query)
        if "uploads" in request.query or "uploadId" in request.query:
            return self._parts(request)
        if request.method == "PUT":
            self._keep(request.key, request.body)
            return Answer(headers={"etag": tag(request.body)})
        if request.method == "DELETE":
            self.objects.pop(request.key, None)
            return Answer(204)
        return self._get(request)

    def _keep(self, key: str, content: bytes) -> None:
        self.objects[key] = content, datetime.now(UTC)

    def _get(self, request: Request) -> Answer:
        if request.key not in self.objects:
            return problem(404, "NoSuchKey")
        content, written = self.objects[request.key]
        headers = {"etag": tag(content), "last-modified": format_datetime(written, usegmt=True)}
        if request.method == "HEAD":
            return Answer(headers=headers, length=len(content))
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", "")):
            start, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            return Answer(
                206,
                content[start : last + 1],
                {**headers, "content-range": f"bytes {start}-{last}/{len(content)}"},
            )
        return Answer(200, content, headers)

    def _list(self, query: dict[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{written:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>{escape(tag(content))}</ETag><Size>{len(content)}</Size></Contents>"
            for key, (content, written) in sorted(self.objects.items())
            if key.startswith(prefix) and not (delimiter and delimiter in key[len(prefix) :])
        )
        return Answer(body=f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode())

    def _parts(self, request: Request) -> Answer:
        if "uploads" in request.query:
            name = f"upload-{len(self.seen)}"
            self.uploads[name] = {}
            result = f"<Bucket>{BUCKET}</Bucket><Key>{request.key}</Key><UploadId>{name}</UploadId>"
            return Answer(body=f"<InitiateMultipartUploadResult>{result}</InitiateMultipartUploadResult>".encode())
        name = request.query["uploadId"]
        if name not in self.uploads:
            return problem(404, "NoSuchUpload")
        if request.method == "DELETE":
            del self.uploads[name]
            return Answer(204)
        if request.method == "PUT":
            self.uploads[name][int(request.query["partNumber"])] = request.body
            return Answer(headers={"etag": tag(request.body)})
        named = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", request.body.decode())]
        if named != sorted(self.uploads[name]):
            return problem(400, "InvalidPartOrder")
        parts = [self.uploads[name][number] for number in named]
        if any(len(part) < LEAST for part in parts[:-1]):
            return problem(400, "EntityTooSmall")
        del self.uploads[name]
        self._keep(request.key, b"".join(parts))
        result = f"<Key>{request.key}</Key><ETag>{escape(tag(b''.join(parts)))}</ETag>"
        return Answer(body=f"<CompleteMultipartUploadResult>{result}</CompleteMultipartUploadResult>".encode())


def tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@asynccontextmanager
async def s3_server() -> AsyncIterator[S3Server]:
    """A server with an empty bucket."""
    server = S3Server()
    running: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        try:
            while (request := await _read(reader)) is not None:
                answer = server.answer(request)
                length = len(answer.body) if answer.length is None else answer.length
                headers = {"content-length": str(length), **answer.headers}
                head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
                writer.write(f"HTTP/1.1 {answer.status} x\r\n{head}\r\n".encode() + answer.body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    async with listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        listening.close()
        for task in running:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in running if task is not None), return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: texts[-1] for name, texts in parse_qs(parts.query, keep_blank_values=True).items()}
    key = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
    return Request(method, key, query, headers, body)
