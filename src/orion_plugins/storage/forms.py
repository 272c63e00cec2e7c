"""Multipart forms (RFC 7578), read as they come: never more than a piece is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
from multipart import (  # type: ignore[import-untyped]  # it has no types
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from orion_core.errors import Malformed, UnsupportedMedia

_FIELD = 8 * 1024
"""Bytes of the longest plain field."""
_AROUND = 64 * 1024
"""Bytes that may come behind the file."""


@attrs.frozen
class File:
    """The file of a form: the plain `fields` before it, what is declared of it, and its bytes, to be read once."""

    fields: dict[str, str]
    name: str
    content_type: str
    pieces: AsyncIterator[bytes]


def boundary_of(content_type: str) -> str:
    """The boundary of a form; raises `UnsupportedMedia` for what is no form."""
    kind, options = parse_options_header(content_type)
    boundary = str(options.get("boundary", ""))
    if kind != "multipart/form-data" or not boundary:
        raise UnsupportedMedia("send a form as multipart/form-data with a boundary")
    return boundary


async def read_form(boundary: str, pieces: AsyncIterator[bytes]) -> File:
    """Read up to the beginning of the form's file; raises `Malformed` for what is no form with a file in it."""
    events = _events(boundary, pieces)
    fields: dict[str, str] = {}
    async for event in events:
        if not isinstance(event, MultipartSegment):
            continue
        if event.filename is not None:
            return File(fields, event.filename, event.content_type or "", _file(events))
        if event.name in fields:
            raise Malformed(f"{event.name}: is there twice")
        fields[event.name] = await _field(event.name, events)
    raise Malformed("file: is missing; send one part with a file name")


async def _events(boundary: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[MultipartSegment | bytes | None]:
    """The parser's events: a segment begins, some of its bytes, None at its end."""
    try:
        with PushMultipartParser(boundary, max_segment_size=2**62, max_segment_count=20, strict=True) as parser:
            async for piece in pieces:
                for event in parser.parse(piece):
                    yield bytes(event) if isinstance(event, bytearray) else event
    except (MultipartError, UnicodeDecodeError) as error:
        raise Malformed(f"the form cannot be read: {error}") from error


async def _field(name: str, events: AsyncIterator[MultipartSegment | bytes | None]) -> str:
    content = b""
    async for event in events:
        if not isinstance(event, bytes):
            break
        content += event
        if len(content) > _FIELD:
            raise Malformed(f"{name}: has more than {_FIELD} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Malformed(f"{name}: must be UTF-8") from None


async def _file(events: AsyncIterator[MultipartSegment | bytes | None]) -> AsyncIterator[bytes]:
    async for event in events:
        if not isinstance(event, bytes):
            break
        yield event
    behind = 0
    async for event in events:
        if isinstance(event, MultipartSegment) and event.filename is not None:
            raise Malformed("file: send one at a time")
        behind += len(event) if isinstance(event, bytes) else 0
        if behind > _AROUND:
            raise Malformed(f"more than {_AROUND} bytes come behind the file")
