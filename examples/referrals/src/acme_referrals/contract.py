"""What referrals promises."""

import abc
from datetime import datetime
from uuid import UUID

import attrs

from orion_core import Conflict, Contract, event, raises, repeatable, value
from orion_core.validators import is_email


@value
class NewInvite:
    """Whom to invite."""

    email: str = attrs.field(validator=is_email)


@value
class Invite:
    """Somebody who was invited, and when they joined, if they did."""

    id: UUID
    email: str
    invited_at: datetime
    joined_at: datetime | None


@value
class Invites:
    """The caller's invites, newest first."""

    items: tuple[Invite, ...]


@value
class Totals:
    """How invites turn out."""

    invited: int
    joined: int


class TooManyOpen(Conflict):
    """The caller waits for too many people already."""

    code = "referrals.too_many_open"


@event("referrals.friend_joined", version=1, subject="user_id")
class FriendJoined:
    """Somebody who was invited has registered."""

    user_id: UUID
    friend_id: UUID


class Referrals(Contract, name="referrals"):
    """People invite people."""

    @raises(TooManyOpen)
    @repeatable
    @abc.abstractmethod
    async def invite(self, data: NewInvite) -> Invite:
        """Invite somebody; an address that the caller has invited before gives the same invite again."""

    @repeatable
    @abc.abstractmethod
    async def mine(self) -> Invites:
        """Whom the caller has invited."""

    @repeatable
    @abc.abstractmethod
    async def totals(self) -> Totals:
        """Counts over everybody; needs `referrals:read`."""
