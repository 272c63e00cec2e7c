"""Who may do what in a bucket: nobody, unless an owner, a grant or a permission says so (T9)."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import attrs

from orion_core.context import Actor, current
from orion_core.contracts.storage import AccessDenied, NoSuchBucket
from orion_core.errors import Unauthenticated
from orion_plugins.storage.tables import StorageBucket, StorageErased, StorageGrant

MANAGE = "storage:manage"
READ = "storage:read"
Wish = Literal["read", "list", "write", "own", "see"]
_BY_GRANT: dict[str, tuple[str, ...]] = {"read": ("read", "write"), "list": ("read", "write"), "write": ("write",)}


@attrs.frozen
class Access:
    """What `actor` may do with a bucket of one kind, `wish`: all of it, or only where one of `grants` says so."""

    bucket: StorageBucket
    wish: Wish
    actor: Actor
    everywhere: bool
    grants: tuple[StorageGrant, ...] = ()

    def check(self, place: bytes) -> StorageBucket:
        """The bucket, if the wish is allowed at `place`; raises as `admitted` does."""
        if self.everywhere or (self.wish == "see" and self.grants):
            return self.bucket
        if any(
            grant.access in _BY_GRANT.get(self.wish, ()) and place.startswith(grant.prefix) for grant in self.grants
        ):
            return self.bucket
        if self.bucket.visibility != "public" and not self.grants:
            raise _hidden(self.actor, self.bucket.name)
        if self.actor.kind == "anonymous":
            raise Unauthenticated("sign in first: everybody may only read here")
        raise AccessDenied(f"you may not {'change this bucket' if self.wish == 'own' else self.wish} here")


async def access(name: str, wish: Wish) -> Access:
    """Whether the caller may do `wish` in the bucket `name`, for many places at once; raises `NoSuchBucket`."""
    actor = current().actor
    bucket = await StorageBucket.objects().where(StorageBucket.name == name).first()
    if bucket is None:
        raise _hidden(actor, name)
    everywhere = _commands(actor, bucket, wish) or (bucket.visibility == "public" and wish in ("read", "see"))
    return Access(bucket, wish, actor, everywhere, () if everywhere else tuple(await _grants(actor, bucket)))


async def admitted(name: str, wish: Wish, place: bytes = b"") -> StorageBucket:
    """The bucket `name`, if the caller may do `wish` there: read or write the key `place`, list below it, own or see.

    Raises `NoSuchBucket` for one that the caller may not see, `AccessDenied` for one in which this is forbidden, and
    `Unauthenticated` where signing in could help.
    """
    return (await access(name, wish)).check(place)


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
