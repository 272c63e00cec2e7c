"""Media types: what is declared, what the first bytes say, and what a browser may show. Pure functions."""

from __future__ import annotations

import mimetypes
import posixpath
import re
from collections.abc import Sequence
from urllib.parse import quote

from orion_core.contracts.storage import TypeMismatch, TypeNotAllowed

UNKNOWN = "application/octet-stream"
HEAD = 512
"""How many of the first bytes are looked at."""

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_TYPE = re.compile(
    rf"(?P<type>{_TOKEN}/{_TOKEN})(?P<parameters>(?: *; *{_TOKEN}=(?:{_TOKEN}|\"[^\"\\\x00-\x1f\x7f]*\"))*) *;?"
)
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_BRANDS = {b"avif": "image/avif", b"heic": "image/heic", b"qt  ": "video/quicktime", b"M4A ": "audio/mp4"}
# Possessive: what has matched is not tried in other ways, of which there are 2 to the number of comments.
_NOTES = rb"(?:<!--.*?-->\s*)*+"
_MARKUP = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind)
    for pattern, kind in (
        (_NOTES + rb"<(?:!doctype\s+html|(?:html|head|body|script|iframe)[\s>])", "text/html"),
        (rb"(?:<\?xml.*?>\s*)?" + _NOTES + rb"(?:<!doctype[^>]*>\s*)?" + _NOTES + rb"<svg[\s>]", "image/svg+xml"),
        (rb"<\?xml\s", "application/xml"),
    )
)
_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "text/xml": "application/xml",
    "application/x-zip-compressed": "application/zip",
    "application/x-gzip": "application/gzip",
    "audio/mp3": "audio/mpeg",
}
# Not those of the machine, which differ from one host to the next.
_EXTENSIONS = mimetypes.MimeTypes()
for _kind, _extension in (
    ("image/avif", ".avif"),
    ("image/heic", ".heic"),
    ("image/webp", ".webp"),
    ("text/markdown", ".md"),
    ("application/gzip", ".gz"),
    ("application/x-bzip2", ".bz2"),
    ("application/x-xz", ".xz"),
):
    _EXTENSIONS.add_type(_kind, _extension)
_INLINE = re.compile(r"image/(?:png|jpeg|gif|webp|avif|bmp)|(?:audio|video)/.+|text/plain")


def declared(content_type: str, key: str) -> str:
    """The media type to store for what was declared as `content_type`: guessed from the `key` if nothing was.

    Raises `TypeNotAllowed` for what is no media type.
    """
    if not content_type.strip():
        return by_extension(key) or UNKNOWN
    match = _TYPE.fullmatch(content_type.strip()) if len(content_type) <= 200 and content_type.isascii() else None
    if match is None:
        raise TypeNotAllowed("Content-Type: must be a media type like image/png")
    return match["type"].lower() + match["parameters"]


def by_extension(key: str) -> str:
    """The media type that the extension of `key` stands for, or the empty text."""
    extension = posixpath.splitext(key)[1].lower()
    return _EXTENSIONS.types_map[True].get(extension, "")


def essence(content_type: str) -> str:
    """`content_type` without parameters, synonyms resolved."""
    bare = content_type.partition(";")[0].strip().lower()
    return _SAME.get(bare, bare)


def found(head: bytes) -> str:
    """The media type that the first bytes of a content show, or the empty text."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for pattern, kind in _MARKUP if pattern.match(text)), "")


_RECOGNISED = frozenset(
    [kind for _, kind in _SIGNATURES]
    + [kind for _, kind in _MARKUP]
    + [*_BRANDS.values(), "image/webp", "audio/wav", "video/mp4"]
)


def check(content_type: str, found_type: str, key: str, allowed: Sequence[str]) -> None:
    """Refuse what a bucket that takes only `allowed` types does not take (T1, T29); all is welcome where none is named.

    Raises `TypeNotAllowed`, and `TypeMismatch` where content, declared type and extension do not agree.
    """
    if not allowed:
        return
    kind = essence(content_type)
    if not any(_covers(essence(pattern), kind) for pattern in allowed):
        raise TypeNotAllowed(f"the bucket takes {', '.join(allowed)} and not {kind}")
    if found_type != kind and (found_type or kind in _RECOGNISED) and not _contains(found_type, kind):
        raise TypeMismatch(f"declared is {kind}, and the content is {found_type or 'something else'}")
    named = by_extension(key)
    if named and essence(named) != kind:
        raise TypeMismatch(f"declared is {kind}, and the extension of the key says {named}")


def _contains(outer: str, kind: str) -> bool:
    """Whether `kind` may be a format that is packed in `outer`, as documents are in ZIP."""
    if outer in ("application/zip", "application/gzip", "application/xml"):
        return kind.startswith("application/") and kind not in _RECOGNISED
    return outer.startswith("video/") and kind == outer.replace("video/", "audio/")


def _covers(pattern: str, kind: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("/*") else pattern == kind


def disposition(content_type: str, key: str, *, download: bool = False) -> str:
    """The Content-Disposition (RFC 6266) of an object: what a browser could run is never shown (T30)."""
    inline = not download and _INLINE.fullmatch(essence(content_type)) is not None
    name = key.rpartition("/")[2]
    plain = re.sub(r"[^ !#-\[\]-~]|%", "_", name)
    header = f'{"inline" if inline else "attachment"}; filename="{plain}"'
    if plain != name:
        header += f"; filename*=UTF-8''{quote(name, safe='')}"
    return header
