"""Files: buckets, objects, and pictures of people.

Bytes never pass through an operation, with two exceptions of at most 5 MiB. They go between HTTP and the port `Blobs`
directly; the operations decide before and record afterwards.
"""

from __future__ import annotations

import abc
import re
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from orion_core.events import event
from orion_core.validators import between, matches, max_len
from orion_core.values import invalid, value

MAX_PICTURE = 5 * 1024 * 1024
"""Bytes of the largest picture, and of the largest object that `put_object` takes."""

MAX_LIFETIME = 7 * 24 * 3600
"""Seconds that a signed URL counts at most."""

Visibility = Literal["private", "public"]
Sensitivity = Literal["normal", "personal"]
Right = Literal["read", "write"]
Method = Literal["GET", "PUT"]

_is_bucket = matches(
    r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "must have 3 to 63 lower-case letters, digits and hyphens, and begin and end with none of the latter",
)
_TYPE_PATTERN = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")
_is_subject = matches(
    r"user:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|role:[a-z0-9_.-]{1,60}|everybody",
    "must be user:<id>, role:<name>, or everybody for every person who is signed in",
)


def _are_types(_: object, attribute: attrs.Attribute[Any], given: tuple[str, ...] | None) -> None:
    if given is not None and len(given) > 50:
        raise invalid(attribute.name, "too_long", "must have at most 50 items")
    for item in given or ():
        if not _TYPE_PATTERN.fullmatch(item):
            raise invalid(attribute.name, "pattern", "must be media types like image/png or image/*")


def _are_sizes(_: object, attribute: attrs.Attribute[Any], given: tuple[int, ...]) -> None:
    if not 1 <= len(given) <= 8 or any(not 1 <= size <= 1024 for size in given):
        raise invalid(attribute.name, "out_of_range", "must be 1 to 8 sizes from 1 to 1024 pixels")


@value
class Picture:
    """A picture of a person as it was sent: PNG, JPEG, WebP or GIF, at most 5 MiB. `sizes` are the sides of the squares
    to make of it, in pixels."""

    owner: UUID
    data: bytes = attrs.field(repr=False)
    sizes: tuple[int, ...] = attrs.field(default=(64, 256, 512), validator=_are_sizes)


@value
class StoredPicture:
    """A picture in its `sizes`, each at ``/api/v1/storage/pictures/{id}/{size}`` for everybody, never to change.

    It goes at `expires_at`, unless its person starts to use it before (`user.avatar_changed`).
    """

    id: UUID
    sizes: tuple[int, ...]
    expires_at: datetime


@value
class PictureFile:
    """One size of a picture, ready to be read from the port `Blobs`."""

    blob_key: str
    size: int
    sha256: str
    content_type: str
    created_at: datetime


@value
class NewBucket:
    """What a bucket is to be like; see `Bucket`. A `max_size` of 0 stands for the largest that is allowed."""

    name: str = attrs.field(validator=_is_bucket)
    visibility: Visibility = "private"
    max_size: int = attrs.field(default=0, validator=between(0, 2**53))
    allowed_types: tuple[str, ...] = attrs.field(default=(), validator=_are_types)
    cache_seconds: int = attrs.field(default=0, validator=between(0, 31_536_000))
    sensitivity: Sensitivity = "normal"
    expire_days: int = attrs.field(default=0, validator=between(0, 36_500))


@value
class BucketChange:
    """What to change of a bucket: None leaves a field as it is."""

    visibility: Visibility | None = None
    max_size: int | None = attrs.field(default=None, validator=between(0, 2**53))
    allowed_types: tuple[str, ...] | None = attrs.field(default=None, validator=_are_types)
    cache_seconds: int | None = attrs.field(default=None, validator=between(0, 31_536_000))
    sensitivity: Sensitivity | None = None
    expire_days: int | None = attrs.field(default=None, validator=between(0, 36_500))


@value
class Bucket:
    """A bucket of objects.

    Everybody may read the objects of a `public` one; who else may do what is up to its owner and its grants. An object
    has at most `max_size` bytes and one of the `allowed_types` (``image/*`` for all of a kind, none for everything).
    Shared caches may keep a public object for `cache_seconds`. Reads of a `personal` bucket are recorded. Objects go
    `expire_days` after they were written, 0 for never.
    """

    name: str
    visibility: Visibility
    max_size: int
    allowed_types: tuple[str, ...]
    cache_seconds: int
    sensitivity: Sensitivity
    expire_days: int
    owner_id: UUID | None
    created_at: datetime
    updated_at: datetime


@value
class BucketPage:
    """Buckets by name; `next_cursor` is None on the last page."""

    items: tuple[Bucket, ...]
    next_cursor: str | None


@value
class NewGrant:
    """A right on all keys of a bucket that begin with `prefix`; ``write`` includes ``read``."""

    subject: str = attrs.field(validator=_is_subject)
    right: Right
    prefix: str = attrs.field(default="", validator=max_len(1024))


@value
class Grant:
    """A right that somebody has been given."""

    id: UUID
    subject: str
    right: Right
    prefix: str
    created_at: datetime


@value
class GrantList:
    """All grants of a bucket, oldest first."""

    items: tuple[Grant, ...]


@value
class ObjectInfo:
    """An object without its bytes. `sha256` is that of the content, in hexadecimal, and its strong entity tag."""

    id: UUID
    bucket: str
    key: str
    size: int
    content_type: str
    sha256: str
    owner_id: UUID | None
    version: int
    created_at: datetime
    modified_at: datetime


@value
class ObjectPage:
    """Objects in the byte order of their keys, and the beginnings that others share up to the delimiter."""

    items: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]
    next_cursor: str | None


@value
class OpenObject:
    """An object ready to be read from the port `Blobs`, with what the answer needs to know of its bucket.

    `opened_at` is the service's time.
    """

    info: ObjectInfo
    blob_key: str
    visibility: Visibility
    cache_seconds: int
    sensitivity: Sensitivity
    opened_at: datetime


@value
class Condition:
    """What must be true of the object as it is (RFC 9110, section 13), else `PreconditionFailed`.

    Entity tags are SHA-256 in hexadecimal; ``*`` stands for any version. `if_match`: one of these must be there;
    `if_none_match`: none of these may be; `unmodified_since` counts only without `if_match`.
    """

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    unmodified_since: datetime | None = None


ANYWAY = Condition()
"""No condition at all: the last write wins."""


@value
class NewUpload:
    """Bytes that are about to come. `head` are the first ones (512 are enough), `length` their number if known.

    `content_type` is as declared, empty if nobody did. `signature` is the one of a signed URL, empty without one.
    """

    bucket: str
    key: str
    content_type: str
    head: bytes = attrs.field(repr=False)
    length: int | None = None
    condition: Condition = ANYWAY
    signature: str = attrs.field(default="", repr=False)


@value
class Upload:
    """Permission to put at most `max_size` bytes into `Blobs` under `blob_key`, and then to finish."""

    id: UUID
    blob_key: str
    max_size: int


@value
class PutObject:
    """An object of at most 5 MiB whose bytes are at hand."""

    bucket: str
    key: str
    data: bytes = attrs.field(repr=False)
    content_type: str = ""
    condition: Condition = ANYWAY


@value
class StoredObject:
    """What a put led to; `created` is false where there was an object under the key."""

    info: ObjectInfo
    created: bool


@value
class CopyObject:
    """Where to copy or move what; `condition` is about the target."""

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    condition: Condition = ANYWAY


@value
class Deletion:
    """What became of one key of many: deleted (also when there was nothing), or the code of the error."""

    key: str
    deleted: bool
    code: str = ""
    detail: str = ""


@value
class Deletions:
    """What became of each key, in the order given."""

    items: tuple[Deletion, ...]


@value
class SignUrl:
    """A URL to be signed: for `method`, one key, `expires_in` seconds (7 days at most).

    For PUT `max_size` limits the bytes (0: as the bucket does), and `content_type`, if given, is the only one taken.
    """

    method: Method
    bucket: str
    key: str
    expires_in: int = attrs.field(default=3600, validator=between(1, MAX_LIFETIME))
    max_size: int = attrs.field(default=0, validator=between(0, 2**53))
    content_type: str = attrs.field(default="", validator=max_len(200))


@value
class SignedUrl:
    """A URL that speaks for the one who had it signed until `expires_at`. Relative if no public URL is set."""

    url: str = attrs.field(repr=False)
    method: Method
    expires_at: datetime


@value
class Collected:
    """What a collection removed, or would remove in a dry run. `missing` are objects whose bytes are gone: a loss."""

    expired_uploads: int
    expired_pictures: int
    expired_objects: int
    orphans: int
    missing: tuple[str, ...]


class NoSuchBucket(NotFound):
    """There is no bucket of this name, or none that the caller may see."""

    code = "storage.no_such_bucket"


class NoSuchObject(NotFound):
    """There is no object under this key, or none that the caller may see."""

    code = "storage.no_such_object"


class NoSuchGrant(NotFound):
    """There is no grant with this id."""

    code = "storage.no_such_grant"


class NoSuchUpload(NotFound):
    """The upload is finished, abandoned or expired."""

    code = "storage.no_such_upload"


class NoSuchPicture(NotFound):
    """There is no picture with this id in this size."""

    code = "storage.no_such_picture"


class BucketTaken(Conflict):
    """There is a bucket of this name."""

    code = "storage.bucket_taken"


class BucketNotEmpty(Conflict):
    """A bucket with objects in it cannot be deleted."""

    code = "storage.bucket_not_empty"


class TooManyBuckets(Conflict):
    """The caller has as many buckets as one person may."""

    code = "storage.too_many_buckets"


class AccessDenied(Forbidden):
    """The caller may see the bucket, and may not do this in it."""

    code = "storage.access_denied"


class BadSignature(Forbidden):
    """The signature of the URL is not the one for this method, bucket and key."""

    code = "storage.bad_signature"


class SignatureExpired(Forbidden):
    """The signed URL was good, and its time is over."""

    code = "storage.signature_expired"


class InvalidKey(Malformed):
    """What was given can be no key of an object."""

    code = "storage.invalid_key"


class ObjectTooLarge(TooLarge):
    """The object has more bytes than its bucket, or its signed URL, allows."""

    code = "storage.too_large"


class TypeNotAllowed(UnsupportedMedia):
    """The bucket does not take this media type."""

    code = "storage.type_not_allowed"


class TypeMismatch(UnsupportedMedia):
    """The content, the declared type and the extension of the key do not agree."""

    code = "storage.type_mismatch"


class ConditionFailed(PreconditionFailed):
    """The object is not what the condition asks for."""

    code = "storage.condition_failed"


class Incomplete(Malformed):
    """Fewer or more bytes came than were announced."""

    code = "storage.incomplete"


class NotAPicture(UnsupportedMedia):
    """The bytes are no PNG, JPEG, WebP or GIF."""

    code = "storage.not_a_picture"


class PictureTooLarge(TooLarge):
    """The picture has too many bytes, pixels or frames."""

    code = "storage.picture_too_large"


class BrokenPicture(Invalid):
    """The bytes begin like a picture and cannot be decoded."""

    code = "storage.broken_picture"


class PicturesBusy(Unavailable):
    """More pictures wait to be worked on than the queue holds, or this host cannot work on pictures at all."""

    code = "storage.pictures_busy"


@event("storage.object_created", version=1, subject="object_id")
class ObjectCreated:
    """There is an object where none was."""

    object_id: UUID
    bucket: str
    key: str
    size: int
    content_type: str
    sha256: str
    owner_id: UUID | None


@event("storage.object_replaced", version=1, subject="object_id")
class ObjectReplaced:
    """An object has other bytes now."""

    object_id: UUID
    bucket: str
    key: str
    size: int
    content_type: str
    sha256: str
    owner_id: UUID | None
    version: int


@event("storage.object_deleted", version=1, subject="object_id")
class ObjectDeleted:
    """An object is gone. Its owner is named so that whoever keeps this finds it when that person is erased."""

    object_id: UUID
    bucket: str
    key: str
    owner_id: UUID | None


@event("storage.object_moved", version=1, subject="object_id")
class ObjectMoved:
    """An object has another place."""

    object_id: UUID
    source_bucket: str
    source_key: str
    bucket: str
    key: str
    owner_id: UUID | None


class Storage(Contract, name="storage"):
    """Files: buckets, objects, and pictures of people."""

    @raises(NotAPicture, PictureTooLarge, BrokenPicture, PicturesBusy, AccessDenied)
    @abc.abstractmethod
    async def put_picture(self, picture: Picture) -> StoredPicture:
        """Decode a picture, turn it upright, and keep it as squares without any of its metadata, for 24 hours.

        The event `user.avatar_changed` of its owner makes it permanent, and frees the one it replaces.
        """

    @raises(NoSuchPicture)
    @repeatable
    @abc.abstractmethod
    async def open_picture(self, picture_id: UUID, size: int) -> PictureFile:
        """One size of a picture, for anybody."""

    @raises(BucketTaken, TooManyBuckets)
    @abc.abstractmethod
    async def create_bucket(self, bucket: NewBucket) -> Bucket:
        """Make a bucket that belongs to the caller."""

    @raises(NoSuchBucket)
    @repeatable
    @abc.abstractmethod
    async def bucket(self, name: str) -> Bucket:
        """A bucket that the caller may see: an own one, one with a grant, or a public one."""

    @repeatable
    @abc.abstractmethod
    async def buckets(self, cursor: str, limit: int) -> BucketPage:
        """The caller's own buckets by name, all of them with `storage:manage`: `limit` (1 to 200) after `cursor`."""

    @raises(NoSuchBucket, AccessDenied)
    @repeatable
    @abc.abstractmethod
    async def change_bucket(self, name: str, change: BucketChange) -> Bucket:
        """Change an own bucket. What is in it already stays, even if it could not be put there now."""

    @raises(NoSuchBucket, AccessDenied, BucketNotEmpty)
    @abc.abstractmethod
    async def delete_bucket(self, name: str) -> None:
        """Remove an own bucket in which nothing is left."""

    @raises(NoSuchBucket, AccessDenied, InvalidKey)
    @abc.abstractmethod
    async def grant(self, bucket: str, grant: NewGrant) -> Grant:
        """Give somebody a right on an own bucket, or on a part of it."""

    @raises(NoSuchBucket, AccessDenied)
    @repeatable
    @abc.abstractmethod
    async def grants(self, bucket: str) -> GrantList:
        """The grants of an own bucket."""

    @raises(NoSuchBucket, AccessDenied, NoSuchGrant)
    @abc.abstractmethod
    async def revoke(self, bucket: str, grant_id: UUID) -> None:
        """Take a right back."""

    @raises(
        NoSuchBucket,
        AccessDenied,
        BadSignature,
        SignatureExpired,
        InvalidKey,
        ObjectTooLarge,
        TypeNotAllowed,
        TypeMismatch,
        ConditionFailed,
    )
    @abc.abstractmethod
    async def begin_upload(self, upload: NewUpload) -> Upload:
        """Decide whether the bytes may come, before they do. The permission lasts a day."""

    @raises(NoSuchBucket, NoSuchUpload, AccessDenied, ObjectTooLarge, ConditionFailed)
    @abc.abstractmethod
    async def finish_upload(self, upload_id: UUID, size: int, sha256: str) -> StoredObject:
        """Make the bytes that were put the object under the key, all at once; conditions are checked again.

        Whoever calls it must call `abandon_upload` if it raises.
        """

    @abc.abstractmethod
    async def abandon_upload(self, upload_id: UUID) -> None:
        """Give an upload up and remove its bytes; nothing happens to one that is finished."""

    @raises(NoSuchBucket, AccessDenied, InvalidKey, ObjectTooLarge, TypeNotAllowed, TypeMismatch, ConditionFailed)
    @abc.abstractmethod
    async def put_object(self, put: PutObject) -> StoredObject:
        """Store a small object whose bytes are at hand."""

    @raises(NoSuchBucket, NoSuchObject, AccessDenied, BadSignature, SignatureExpired, InvalidKey)
    @repeatable
    @abc.abstractmethod
    async def open(self, bucket: str, key: str, signature: str = "") -> OpenObject:
        """An object that the caller may read; a read of a personal bucket is recorded first."""

    @raises(NoSuchBucket, AccessDenied, InvalidKey)
    @repeatable
    @abc.abstractmethod
    async def objects(self, bucket: str, prefix: str, delimiter: str, cursor: str, limit: int) -> ObjectPage:
        """The objects whose keys begin with `prefix`, `limit` (1 to 200) of them after `cursor`.

        With a `delimiter`, keys that have it behind the prefix are told by their common beginning only.
        """

    @raises(NoSuchBucket, AccessDenied, InvalidKey, ConditionFailed)
    @abc.abstractmethod
    async def delete(self, bucket: str, key: str, condition: Condition = ANYWAY) -> None:
        """Remove an object; nothing happens where there is none, unless the condition asks for one."""

    @raises(NoSuchBucket, AccessDenied)
    @repeatable
    @abc.abstractmethod
    async def delete_many(self, bucket: str, keys: tuple[str, ...]) -> Deletions:
        """Remove up to 1,000 objects and say what became of each."""

    @raises(
        NoSuchBucket,
        NoSuchObject,
        AccessDenied,
        InvalidKey,
        ObjectTooLarge,
        TypeNotAllowed,
        TypeMismatch,
        ConditionFailed,
    )
    @abc.abstractmethod
    async def copy(self, copy: CopyObject) -> StoredObject:
        """Copy an object, all or nothing; no bytes are moved."""

    @raises(
        NoSuchBucket,
        NoSuchObject,
        AccessDenied,
        InvalidKey,
        ObjectTooLarge,
        TypeNotAllowed,
        TypeMismatch,
        ConditionFailed,
    )
    @abc.abstractmethod
    async def move(self, move: CopyObject) -> StoredObject:
        """Give an object another key or bucket, all or nothing."""

    @raises(NoSuchBucket, AccessDenied, InvalidKey, ObjectTooLarge)
    @repeatable
    @abc.abstractmethod
    async def sign(self, sign: SignUrl) -> SignedUrl:
        """Sign a URL for something that the caller may do."""

    @abc.abstractmethod
    async def collect(self, dry_run: bool) -> Collected:
        """Remove what has expired and bytes that belong to nothing; needs `storage:manage`."""
