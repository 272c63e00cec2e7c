"""What storage stores: everything about the bytes, which are in the port `Blobs` themselves.

Keys and prefixes are columns of bytes, so that both databases order them alike: by byte.
"""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, Boolean, Bytea, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table


class StorageBucket(Table, tablename="storage_buckets"):
    """One bucket; see `orion_core.contracts.storage.Bucket`. `allowed_types` is a JSON array."""

    id = UUID(primary_key=True, default=None)
    name = Varchar(63, unique=True)
    owner_id = UUID(default=None, null=True, index=True)
    visibility = Varchar(20)
    max_size = BigInt()
    allowed_types = Text()
    cache_seconds = Integer()
    sensitivity = Varchar(20)
    expire_days = Integer()
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)


class StorageGrant(Table, tablename="storage_grants"):
    """One right of `subject` on the keys of a bucket that begin with `prefix`."""

    id = UUID(primary_key=True, default=None)
    bucket_id = UUID(default=None, index=True)
    subject = Varchar(100, index=True)
    access = Varchar(10)
    prefix = Bytea()
    created_at = Timestamptz(default=None)


class StorageObject(Table, tablename="storage_objects"):
    """One object in its current version.

    Several objects may share a blob: a copy moves no bytes. `found_type` is what the first bytes say, empty if nothing.
    """

    id = UUID(primary_key=True, default=None)
    bucket_id = UUID(default=None)
    key = Bytea()
    owner_id = UUID(default=None, null=True, index=True)
    blob_key = Varchar(200, index=True)
    size = BigInt()
    sha256 = Varchar(64)
    content_type = Text()
    found_type = Varchar(100)
    version = Integer(default=1)
    created_at = Timestamptz(default=None)
    modified_at = Timestamptz(default=None)


class StorageUpload(Table, tablename="storage_uploads"):
    """Bytes that may be coming in. `condition` is a `Condition` as JSON."""

    id = UUID(primary_key=True, default=None)
    bucket_id = UUID(default=None, index=True)
    key = Bytea()
    owner_id = UUID(default=None, null=True, index=True)
    blob_key = Varchar(200)
    content_type = Text()
    found_type = Varchar(100)
    max_size = BigInt()
    condition = Text()
    expires_at = Timestamptz(default=None, index=True)


class StoragePicture(Table, tablename="storage_pictures"):
    """One picture of a person; without `expires_at` it is in use."""

    id = UUID(primary_key=True, default=None)
    owner_id = UUID(default=None, index=True)
    expires_at = Timestamptz(default=None, null=True, index=True)
    created_at = Timestamptz(default=None)


class StoragePictureSize(Table, tablename="storage_picture_sizes"):
    """One size of a picture: `side` pixels was asked for, `size` bytes it has."""

    id = UUID(primary_key=True, default=None)
    picture_id = UUID(default=None)
    side = Integer()
    blob_key = Varchar(200, index=True)
    size = BigInt()
    sha256 = Varchar(64)
    content_type = Varchar(100)


class StorageRead(Table, tablename="storage_reads"):
    """One read of an object in a bucket of personal data: written before the answer leaves."""

    id = UUID(primary_key=True, default=None)
    actor = Text()
    owner_id = UUID(default=None, null=True, index=True)
    object_id = UUID(default=None)
    bucket = Varchar(63)
    signed = Boolean(default=False)
    correlation_id = Text()
    at = Timestamptz(default=None, index=True)


class StorageErased(Table, tablename="storage_erased"):
    """A person who was erased: signed URLs of theirs, and uploads that were coming in, count no more."""

    user_id = UUID(primary_key=True, default=None)
    erased_at = Timestamptz(default=None)
