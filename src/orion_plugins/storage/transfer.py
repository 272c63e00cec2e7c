"""Between HTTP and the port `Blobs`: what the routes of objects and pictures do."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

import attrs
from litestar import Request, Response

from orion_core import codec
from orion_core.context import current
from orion_core.contracts.storage import (
    BadSignature,
    InvalidKey,
    NoSuchObject,
    ObjectInfo,
    OpenObject,
    Storage,
    StoredObject,
)
from orion_core.errors import FieldError, Internal, Invalid, Malformed, UnsupportedMedia
from orion_core.ports.blobs import Blobs, NoSuchBlob
from orion_plugins.storage.aftermath import bucket_tag, object_path
from orion_plugins.storage.answers import SAFE, Blob, Representation, answer
from orion_plugins.storage.conditions import for_write
from orion_plugins.storage.forms import boundary_of, read_form
from orion_plugins.storage.incoming import Arrival, body, take
from orion_plugins.storage.media_types import disposition

log = logging.getLogger("orion.storage")
T = TypeVar("T")
IMMUTABLE = "public, max-age=31536000, immutable"
_TRIES = 3
_SEGMENTS = 7
"""Slashes before the key in ``/api/v1/storage/buckets/{bucket}/objects/{key}``."""


def safe(app: Any) -> Any:
    """A middleware: no answer is sniffed (T30), and none about something that went wrong is kept (T38)."""

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        async def tagged(message: Any) -> None:
            if message["type"] == "http.response.start":
                wanted = {b"x-content-type-options": b"nosniff"}
                if message["status"] >= 400:
                    wanted[b"cache-control"] = b"no-store"
                present = {name.lower() for name, _ in message["headers"]}
                added = [pair for pair in wanted.items() if pair[0] not in present]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await app(scope, receive, tagged)

    return layer


async def take_body(
    request: Request[Any, Any, Any], storage: Storage, blobs: Blobs, bucket: str, signature: str
) -> StoredObject:
    """Store the body of a PUT."""
    headers = _headers(request)
    _check_query(request, {"signature"})
    if "content-range" in headers:
        # Taken for the whole, a part would destroy the rest (RFC 9110, section 14.5).
        raise Malformed("Content-Range: an object can only be replaced as a whole")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        # Nothing would tell readers how to undo it.
        raise UnsupportedMedia("Content-Encoding: send the bytes of the object as they are")
    arrival = Arrival(
        bucket,
        _key(request),
        headers.get("content-type", ""),
        _length(headers),
        for_write(headers),
        signature,
    )
    async with aclosing(cast(Any, body(request.receive))) as pieces:
        return await take(storage, blobs, arrival, pieces)


async def take_form(request: Request[Any, Any, Any], storage: Storage, blobs: Blobs, bucket: str) -> StoredObject:
    """Store the file of a form."""
    headers = _headers(request)
    boundary = boundary_of(headers.get("content-type", ""))
    async with aclosing(cast(Any, body(request.receive))) as pieces:
        file = await read_form(boundary, pieces)
        arrival = Arrival(bucket, file.fields.get("key", file.name), file.content_type, None, for_write(headers))
        async with aclosing(cast(Any, file.pieces)) as content:
            return await take(storage, blobs, arrival, content)


def stored(result: StoredObject) -> Response[ObjectInfo]:
    """201 for a new object and 200 for a replaced one, with its metadata."""
    info = result.info
    return Response(
        info,
        status_code=201 if result.created else 200,
        headers={**SAFE, "ETag": f'"{info.sha256}"', "Location": object_path(info.bucket, info.key)},
    )


async def give_object(
    request: Request[Any, Any, Any],
    storage: Storage,
    blobs: Blobs,
    bucket: str,
    version: str,
    download: bool,
    signature: str,
) -> Response[Any]:
    """Answer a read of an object."""
    _check_query(request, {"signature", "v", "download"})
    key, headers = _key(request), _headers(request)
    for _ in range(_TRIES):
        found = await storage.open(bucket, key, signature)
        info = found.info
        if version not in ("", info.sha256):
            raise NoSuchObject(f"the object {key} has other content now")
        what = Representation(
            found.blob_key,
            info.size,
            info.sha256,
            info.content_type,
            info.modified_at,
            _cache_rules(found, immutable=bool(version)),
        )
        shown = disposition(info.content_type, info.key, download=download)
        made = answer(str(request.method), headers, what, blobs, found.opened_at, shown)
        try:
            return await _begun(made)
        except NoSuchBlob:
            continue  # replaced or deleted since it was looked up
    log.error("the bytes of an object are gone", extra={"object": f"{bucket}/{key}"})
    raise Internal("the content of this object is missing")


async def give_picture(
    request: Request[Any, Any, Any], storage: Storage, blobs: Blobs, picture_id: UUID, size: int
) -> Response[Any]:
    """Answer a read of a picture."""
    found = await storage.open_picture(picture_id, size)
    extra = {"Cache-Control": IMMUTABLE, "Vary": "Accept-Encoding"}
    what = Representation(found.blob_key, found.size, found.sha256, found.content_type, found.created_at, extra)
    made = answer(str(request.method), _headers(request), what, blobs, found.created_at, "inline")
    return await _begun(made)


async def _begun(made: Response[Any]) -> Response[Any]:
    if isinstance(made, Blob):
        await made.begin()
    return made


def _cache_rules(found: OpenObject, *, immutable: bool) -> dict[str, str]:
    """Who may keep an answer, and for how long (T38)."""
    if found.sensitivity == "personal":
        return {"Cache-Control": "private, no-store", "Vary": "Authorization"}
    if found.visibility == "private":
        return {"Cache-Control": "private, max-age=0, must-revalidate", "Vary": "Authorization"}
    rule = IMMUTABLE if immutable else f"public, max-age=0, s-maxage={found.cache_seconds}, must-revalidate"
    return {"Cache-Control": rule, "Vary": "Accept-Encoding", "Cache-Tag": bucket_tag(found.info.bucket)}


async def remove(request: Request[Any, Any, Any], storage: Storage, bucket: str) -> None:
    """Delete an object, if the conditions hold."""
    await storage.delete(bucket, _key(request), for_write(_headers(request)))


def read_change(kind: type[T], content: bytes) -> T:
    """The JSON object `content` as a `kind`, all of whose fields may be left out.

    Raises `Malformed`, and `Invalid` that names every unknown field.
    """
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise Invalid("the body must be a JSON object", errors=[FieldError("", "type", "must be a JSON object")])
    known = attrs.fields_dict(cast(Any, kind))
    strange = [FieldError(name, "unknown", "cannot be changed here") for name in plain if name not in known]
    if strange:
        raise Invalid("; ".join(f"{each.field}: {each.detail}" for each in strange), errors=strange)
    return codec.from_plain(plain, kind)


def _key(request: Request[Any, Any, Any]) -> str:
    """The key as it was sent, decoded once: the router's own reading of it has lost what it could not decode."""
    # Some servers leave it out.
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    parts = raw.split(b"/", _SEGMENTS)
    encoded = parts[_SEGMENTS] if len(parts) > _SEGMENTS else b""
    if b"%2f" in encoded.lower():
        raise InvalidKey("key: write slashes as they are, not as %2F")
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise InvalidKey("key: must be UTF-8, percent-encoded") from None


def _headers(request: Request[Any, Any, Any]) -> Mapping[str, str]:
    """The headers by lower-case name; repeated ones as one list."""
    found: dict[str, str] = {}
    for name, text in request.scope["headers"]:
        key = name.decode("latin-1").lower()
        found[key] = f"{found[key]}, {text.decode('latin-1')}" if key in found else text.decode("latin-1")
    return found


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _check_query(request: Request[Any, Any, Any], known: set[str]) -> None:
    """Refuse a query in which the signature can no longer be recognised (T36)."""
    if current().actor.kind == "anonymous" and set(request.query_params) - known:
        raise BadSignature(f"the query has parameters other than {', '.join(sorted(known))}")
