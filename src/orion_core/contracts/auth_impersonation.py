"""Impersonation: an administrator acts as somebody else for a while, seen by everybody concerned."""

from __future__ import annotations

import abc
from uuid import UUID

import attrs

from orion_core.contract import raises, repeatable
from orion_core.errors import Forbidden, NotFound
from orion_core.validators import is_plain, length
from orion_core.values import value


@value
class Impersonate:
    """Why somebody acts as another person; the person can read it nowhere, auditors can."""

    reason: str = attrs.field(validator=attrs.validators.and_(length(1, 500), is_plain))


@value
class Impersonation:
    """An access token of the person `user_id` with the claim `act` (RFC 8693, 4.1). There is no refresh token.

    `session_id` is what ends it, `expires_in` is in seconds.
    """

    session_id: UUID
    user_id: UUID
    access_token: str = attrs.field(repr=False)
    expires_in: int
    token_type: str = "Bearer"


class NotImpersonable(Forbidden):
    """Nobody acts as this person: it is the caller, an administrator, or somebody who may more than the caller."""

    code = "auth.not_impersonable"


class NoSuchImpersonation(NotFound):
    """There is no impersonation with this id, or it is over and forgotten."""

    code = "auth.no_such_impersonation"


class ImpersonationOperations(abc.ABC):
    """Acting as somebody else. What only the person may do refuses such a caller (`Actor.refuse_impersonated`)."""

    @raises(NotImpersonable)
    @abc.abstractmethod
    async def impersonate(self, user_id: UUID, data: Impersonate) -> Impersonation:
        """Open a session as the person `user_id`, for an hour at most; needs the permission `accounts:impersonate`.

        Raises `NotFound` when there is no such account. It ends at once when the caller loses the permission.
        """

    @raises(NoSuchImpersonation)
    @repeatable
    @abc.abstractmethod
    async def end_impersonation(self, session_id: UUID) -> None:
        """End it before its time; needs the permission `accounts:impersonate`, whoever began it."""
