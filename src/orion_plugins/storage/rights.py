"""Who may do what in a bucket: nobody, unless an owner, a grant or a permission says so (T9)."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from orion_core.context import Actor, current
from orion_core.contracts.storage import AccessDenied, NoSuchBucket
from orion_core.errors import Unauthenticated
from orion_plugins.storage.tables import StorageBucket, StorageErased, StorageGrant

MANAGE = "storage:manage"
READ = "storage:read"
Wish = Literal["read", "list", "write", "own", "see"]
_BY_GRANT: dict[str, tuple[str, ...]] = {"read": ("read", "write"), "list": ("read", "write"), "write": ("write",)}


async def admitted(name: str, wish: Wish, place: bytes = b"") -> StorageBucket:
    """The bucket `name`, if the caller may do `wish` there: read or write the key `place`, list below it, own or see.

    Raises `NoSuchBucket` for one that the caller may not see, `AccessDenied` for one in which this is forbidden, and
    `Unauthenticated` where signing in could help.
    """
    actor = current().actor
    bucket = await StorageBucket.objects().where(StorageBucket.name == name).first()
    if bucket is None:
        raise _hidden(actor, name)
    if _commands(actor, bucket, wish):
        return bucket
    public = bucket.visibility == "public"
    if public and wish in ("read", "see"):
        return bucket
    grants = await _grants(actor, bucket)
    if wish == "see" and grants:
        return bucket
    if any(grant.access in _BY_GRANT.get(wish, ()) and place.startswith(grant.prefix) for grant in grants):
        return bucket
    if not public and not grants:
        raise _hidden(actor, name)
    if actor.kind == "anonymous":
        raise Unauthenticated("sign in first: everybody may only read here")
    raise AccessDenied(f"you may not {'change this bucket' if wish == 'own' else wish} here")


def manages(actor: Actor) -> bool:
    """Whether `actor` may do everything everywhere."""
    return actor.trusted or actor.may(MANAGE)


def caller() -> str:
    """The id of the person who asks, empty when the platform itself does; raises `Unauthenticated` for nobody."""
    actor = current().actor
    if actor.kind == "anonymous":
        raise Unauthenticated("sign in first: this needs an access token")
    return "" if actor.trusted else str(actor.user_id)


async def refuse_erased(person: UUID | None) -> None:
    """Raise `AccessDenied` for somebody who was erased, whose signed URLs are still about."""
    if person is not None and await StorageErased.exists().where(StorageErased.user_id == person):
        raise AccessDenied("this person's access has ended")


def _commands(actor: Actor, bucket: StorageBucket, wish: Wish) -> bool:
    if manages(actor) or (wish in ("read", "list", "see") and actor.may(READ)):
        return True
    return actor.kind == "user" and bucket.owner_id == actor.user_id


async def _grants(actor: Actor, bucket: StorageBucket) -> list[StorageGrant]:
    if actor.kind != "user":
        return []
    subjects = ["everybody", f"user:{actor.id}", *(f"role:{role}" for role in actor.roles)]
    return await StorageGrant.objects().where(
        (StorageGrant.bucket_id == bucket.id) & StorageGrant.subject.is_in(subjects)
    )


def _hidden(actor: Actor, name: str) -> NoSuchBucket | Unauthenticated:
    if actor.kind == "anonymous":
        return Unauthenticated("sign in first: this needs an access token, or a signed URL")
    return NoSuchBucket(f"there is no bucket {name}")
