"""`/api/v1/storage`: buckets, objects, signed URLs and pictures."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post, put, route
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter

from orion_core.contracts.storage import (
    Bucket,
    BucketChange,
    BucketPage,
    Collected,
    CopyObject,
    Deletions,
    Grant,
    GrantList,
    NewBucket,
    NewGrant,
    ObjectPage,
    SignedUrl,
    SignUrl,
    Storage,
)
from orion_core.ports.blobs import Blobs
from orion_core.values import value
from orion_core.web import Cursor, Limit, needs, public, signed_in, streaming
from orion_plugins.storage import transfer

KEY = Annotated[str, PathParameter(description="the key of the object, its slashes as they are")]
Signature = Annotated[str, QueryParameter(description="the signature of a signed URL")]
Version = Annotated[str, QueryParameter(description="the SHA-256 of the content: makes the URL immutable")]
Prefix = Annotated[str, QueryParameter(description="what the keys begin with")]
Delimiter = Annotated[str, QueryParameter(description="what separates folders from their content, such as /")]
DryRun = Annotated[bool, QueryParameter(description="only count")]
Download = Annotated[bool, QueryParameter(description="have it saved instead of shown")]
OBJECT = "/{bucket:str}/objects/{key:path}"


def _by_method(what: str) -> Any:
    """Names the two operations of a route that answers GET and HEAD."""

    def name(handler: Any, method: Any, path: Any) -> str:
        return f"storage_{method.value.lower()}_{what}"

    return name


@value
class Keys:
    """Keys of objects of one bucket, at most 1,000."""

    keys: tuple[str, ...]


class BytesOperation(Operation):
    """Describes a body of bytes, which the handler reads by itself."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(content={"*/*": OpenAPIMediaType(schema=schema)}, required=True)


class FormOperation(Operation):
    """Describes a form with a file, which the handler reads by itself."""

    def __post_init__(self) -> None:
        schema = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "key": Schema(type=OpenAPIType.STRING, description="before the file; the file's name if left out"),
                "file": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY),
            },
            required=["file"],
        )
        self.request_body = RequestBody(content={"multipart/form-data": OpenAPIMediaType(schema=schema)}, required=True)


class BucketRoutes(Controller):
    """Buckets and the rights in them."""

    path = "/api/v1/storage/buckets"
    tags = ("storage",)
    middleware = (transfer.safe,)

    @post("/", opt=signed_in(), operation_id="storage_create_bucket", summary="Make a bucket")
    async def create(self, storage: NamedDependency[Storage], data: JSONBody[NewBucket]) -> Bucket:
        """It belongs to you, and nobody else may use it, unless it is public or you grant a right on it."""
        return await storage.create_bucket(data)

    @get("/", opt=signed_in(), operation_id="storage_buckets", summary="List your buckets")
    async def page(self, storage: NamedDependency[Storage], cursor: Cursor = "", limit: Limit = 50) -> BucketPage:
        """By name. With `storage:manage` the buckets of everybody."""
        return await storage.buckets(cursor, limit)

    @get("/{bucket:str}", opt=signed_in(), operation_id="storage_bucket", summary="Read a bucket")
    async def read(self, storage: NamedDependency[Storage], bucket: FromPath[str]) -> Bucket:
        """One that you may not see is as if it were not there: 404."""
        return await storage.bucket(bucket)

    @patch("/{bucket:str}", opt=signed_in(), operation_id="storage_change_bucket", summary="Change a bucket")
    async def change(
        self, request: Request[Any, Any, Any], storage: NamedDependency[Storage], bucket: FromPath[str]
    ) -> Bucket:
        """A JSON object with the fields to change; an unknown or read-only one answers 422 and names it.

        What is in the bucket already stays, even if it could not be put there any more.
        """
        return await storage.change_bucket(bucket, transfer.read_change(BucketChange, await request.body()))

    @delete("/{bucket:str}", opt=signed_in(), operation_id="storage_delete_bucket", summary="Delete an empty bucket")
    async def drop(self, storage: NamedDependency[Storage], bucket: FromPath[str]) -> None:
        """One with objects in it answers 409."""
        await storage.delete_bucket(bucket)

    @post("/{bucket:str}/grants", opt=signed_in(), operation_id="storage_grant", summary="Give somebody a right")
    async def grant(self, storage: NamedDependency[Storage], bucket: FromPath[str], data: JSONBody[NewGrant]) -> Grant:
        """To `user:<id>`, `role:<name>` or `everybody` who is signed in, on keys that begin with `prefix`."""
        return await storage.grant(bucket, data)

    @get("/{bucket:str}/grants", opt=signed_in(), operation_id="storage_grants", summary="List the rights")
    async def grants(self, storage: NamedDependency[Storage], bucket: FromPath[str]) -> GrantList:
        """Of an own bucket, oldest first."""
        return await storage.grants(bucket)

    @delete(
        "/{bucket:str}/grants/{grant_id:uuid}",
        opt=signed_in(),
        operation_id="storage_revoke",
        summary="Take a right back",
    )
    async def revoke(self, storage: NamedDependency[Storage], bucket: FromPath[str], grant_id: FromPath[UUID]) -> None:
        """It ends at once; signed URLs that were made with it count until they expire."""
        await storage.revoke(bucket, grant_id)


class ObjectRoutes(Controller):
    """Objects."""

    path = "/api/v1/storage/buckets"
    tags = ("storage",)
    middleware = (transfer.safe,)

    @get("/{bucket:str}/objects", opt=signed_in(), operation_id="storage_objects", summary="List objects")
    async def page(
        self,
        storage: NamedDependency[Storage],
        bucket: FromPath[str],
        prefix: Prefix = "",
        delimiter: Delimiter = "",
        cursor: Cursor = "",
        limit: Limit = 50,
    ) -> ObjectPage:
        """In the byte order of the keys. With `delimiter=/` what lies in folders is told by `prefixes` only."""
        return await storage.objects(bucket, prefix, delimiter, cursor, limit)

    @post(
        "/{bucket:str}/objects",
        opt=signed_in() | streaming(),
        operation_id="storage_post_object",
        summary="Upload an object by a form",
        operation_class=FormOperation,
        request_max_body_size=None,
    )
    async def post_form(
        self,
        request: Request[Any, Any, Any],
        storage: NamedDependency[Storage],
        blobs: NamedDependency[Blobs],
        bucket: FromPath[str],
    ) -> Response[Any]:
        """One file per form. 201 for a new object, 200 for a replaced one; conditions as for PUT."""
        return transfer.stored(await transfer.take_form(request, storage, blobs, bucket))

    @put(
        OBJECT,
        opt=public() | streaming(),
        operation_id="storage_put_object",
        summary="Upload an object",
        operation_class=BytesOperation,
        request_max_body_size=None,
    )
    async def upload(
        self,
        request: Request[Any, Any, Any],
        storage: NamedDependency[Storage],
        blobs: NamedDependency[Blobs],
        bucket: FromPath[str],
        key: KEY,
        signature: Signature = "",
    ) -> Response[Any]:
        """The body is the object, of any length. 201 for a new one, 200 for a replaced one.

        `If-None-Match: *` only creates, `If-Match` only replaces the version with that ETag, else 412. Nobody sees the
        object before it is whole; when anything goes wrong, everything is as before.
        """
        return transfer.stored(await transfer.take_body(request, storage, blobs, bucket, signature))

    @route(
        OBJECT,
        http_method=["GET", "HEAD"],
        opt=public() | streaming(),
        operation_id=_by_method("object"),
        summary="Download an object",
        media_type="*/*",
    )
    async def download(
        self,
        request: Request[Any, Any, Any],
        storage: NamedDependency[Storage],
        blobs: NamedDependency[Blobs],
        bucket: FromPath[str],
        key: KEY,
        signature: Signature = "",
        v: Version = "",
        download: Download = False,
    ) -> Response[Any]:
        """With ranges and conditions. The ETag is the SHA-256 of the content.

        Only pictures, sound, film and plain text are shown by browsers; everything else is saved.
        """
        return await transfer.give_object(request, storage, blobs, bucket, v, download, signature)

    @delete(OBJECT, opt=signed_in(), operation_id="storage_delete_object", summary="Delete an object")
    async def remove(
        self,
        request: Request[Any, Any, Any],
        storage: NamedDependency[Storage],
        bucket: FromPath[str],
        key: KEY,
    ) -> None:
        """204 also when there is none. With `If-Match` only the version with that ETag, else 412."""
        await transfer.remove(request, storage, bucket)

    @post(
        "/{bucket:str}/deletions",
        opt=signed_in(),
        status_code=200,
        operation_id="storage_delete_objects",
        summary="Delete many objects",
    )
    async def remove_many(
        self, storage: NamedDependency[Storage], bucket: FromPath[str], data: JSONBody[Keys]
    ) -> Deletions:
        """Up to 1,000; the answer says what became of each."""
        return await storage.delete_many(bucket, data.keys)


class StorageRoutes(Controller):
    """Copies and moves, signed URLs, pictures, administration."""

    path = "/api/v1/storage"
    tags = ("storage",)
    middleware = (transfer.safe,)

    @post("/copies", opt=signed_in(), operation_id="storage_copy", summary="Copy an object")
    async def copy(self, storage: NamedDependency[Storage], data: JSONBody[CopyObject]) -> Response[Any]:
        """All or nothing, also between buckets."""
        return transfer.stored(await storage.copy(data))

    @post("/moves", opt=signed_in(), operation_id="storage_move", summary="Move an object")
    async def move(self, storage: NamedDependency[Storage], data: JSONBody[CopyObject]) -> Response[Any]:
        """All or nothing, also between buckets; it stays the same object."""
        return transfer.stored(await storage.move(data))

    @post("/signed-urls", opt=signed_in(), operation_id="storage_sign", summary="Sign a URL")
    async def sign(self, storage: NamedDependency[Storage], data: JSONBody[SignUrl]) -> SignedUrl:
        """For one method on one object, for at most 7 days: whoever has it may do that in your name."""
        return await storage.sign(data)

    @route(
        "/pictures/{picture_id:uuid}/{size:int}",
        http_method=["GET", "HEAD"],
        opt=public() | streaming(),
        operation_id=_by_method("picture"),
        summary="Download a picture of a person",
        media_type="image/*",
    )
    async def picture(
        self,
        request: Request[Any, Any, Any],
        storage: NamedDependency[Storage],
        blobs: NamedDependency[Blobs],
        picture_id: FromPath[UUID],
        size: FromPath[int],
    ) -> Response[Any]:
        """A square of `size` pixels, or smaller if the picture was. It never changes."""
        return await transfer.give_picture(request, storage, blobs, picture_id, size)

    @post(
        "/admin/collect",
        opt=needs("storage:manage"),
        status_code=200,
        operation_id="storage_collect",
        summary="Remove what has expired, and bytes that belong to nothing",
    )
    async def collect(self, storage: NamedDependency[Storage], dry_run: DryRun = False) -> Collected:
        """With `dry_run=true` it is only counted. Objects whose bytes are missing are named."""
        return await storage.collect(dry_run)
