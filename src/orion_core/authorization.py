"""The adapter of the port `Authorization`: the actor's permissions decide here, and auth where grants can matter.

An actor carries what its roles give, and whether there are grants on single resources for it at all. For most people
there are none, so most decisions ask nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from uuid import UUID

from orion_core.context import Actor, current
from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_access import MOST_ASKED, Question
from orion_core.errors import CallInsideTransaction, Forbidden, NotFound, Unauthenticated, Unavailable
from orion_core.permissions import decide
from orion_core.permissions import sees as permission_to_see
from orion_core.ports.database import in_transaction

log = logging.getLogger("orion.authorization")


class GrantedAuthorization:
    """Keeps the port `Authorization`."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def can(self, permission: str, resource: str = "", *, owner: UUID | None = None) -> bool:
        """See `Authorization.can`."""
        question = _question(permission, {resource: owner} if resource else {})
        return (await self._answers(question))[0]

    async def require(
        self, permission: str, resource: str = "", *, owner: UUID | None = None, sees: str | None = None
    ) -> None:
        """See `Authorization.require`."""
        question = _question(permission, {resource: owner} if resource else {}, attempt=True)
        if (await self._answers(question))[0]:
            return
        if current().actor.kind == "anonymous":
            raise Unauthenticated("sign in first: this needs an access token")
        to_see = permission_to_see(permission) if sees is None else sees
        hidden = resource and to_see and (to_see == permission or not await self.can(to_see, resource, owner=owner))
        if hidden:
            raise NotFound("there is no {} {}".format(*resource.split(":", 1)))
        raise Forbidden(f"this needs the permission {permission}{f' for {resource}' if resource else ''}")

    async def visible(self, permission: str, resources: Mapping[str, UUID | None]) -> tuple[str, ...]:
        """See `Authorization.visible`."""
        every, found = list(resources.items()), []
        for first in range(0, len(every), MOST_ASKED):
            question = _question(permission, dict(every[first : first + MOST_ASKED]))
            answers = await self._answers(question)
            found += [name for name, allowed in zip(question.resources, answers, strict=True) if allowed]
        return tuple(found)

    async def _answers(self, question: Question) -> tuple[bool, ...]:
        if in_transaction():
            # Said even where nobody would be asked: the first grant must not be what breaks a service.
            raise CallInsideTransaction("authorization was asked with a transaction open: ask before it")
        if current().actor.trusted:
            return (True,) * max(1, len(question.resources))
        return await self._decided(question)

    async def _decided(self, question: Question) -> tuple[bool, ...]:
        actor = current().actor
        if actor.granted:
            return (await self._auth.decide(question)).allowed
        allowed = _by_permissions(question, actor)
        if question.attempt and not all(allowed) and actor.kind != "anonymous":
            try:
                # Auth records the denial, and may know of a grant that was given just now.
                return (await self._auth.decide(question)).allowed
            except Unavailable:
                log.warning("%s was denied %s, which could not be recorded", actor.name, question.permission)
        return allowed


def _question(permission: str, resources: Mapping[str, UUID | None], *, attempt: bool = False) -> Question:
    actor = current().actor
    owned = tuple(
        name
        for name, owner in resources.items()
        if owner is not None and actor.kind == "user" and str(owner) == actor.id
    )
    return Question(permission, tuple(resources), owned, attempt)


def _by_permissions(question: Question, actor: Actor) -> tuple[bool, ...]:
    owned = frozenset(question.owned)
    return tuple(
        decide(
            question.permission,
            resource,
            held=actor.permissions,
            owner=resource in owned,
            scopes=actor.scopes,
        ).allowed
        for resource in question.resources or ("",)
    )
