"""Grants on single resources, and decisions about resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import Actor, current
from orion_core.contracts.auth import AccessChanged
from orion_core.contracts.auth_access import (
    Answer,
    NewResourceGrant,
    NoSuchGrant,
    Question,
    ResourceGrant,
    ResourceGrantPage,
    RoleChanged,
)
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.paging import from_cursor, to_cursor
from orion_core.permissions import Rule, Verdict, decide
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.auth.audit import record
from orion_plugins.auth.holdings import check_held, check_manager
from orion_plugins.auth.roles import Roles
from orion_plugins.auth.tables import AuthGrant

MANAGE = "grants:manage"
_REASON = 64


@attrs.frozen
class Grants:
    """The operations on grants, and `decide`."""

    db: Database
    events: Events
    clock: Clock
    roles: Roles

    async def page(self, user_id: UUID | None, role: str, cursor: str, limit: int) -> ResourceGrantPage:
        """See `Auth.grants`."""
        check_manager(MANAGE)
        query = AuthGrant.select().order_by(AuthGrant.id).limit(limit + 1)
        if user_id is not None:
            query = query.where(AuthGrant.user_id == user_id)
        if role:
            query = query.where(AuthGrant.role == (await self.roles.find(role)).name)
        if cursor:
            query = query.where(AuthGrant.id > from_cursor(cursor))
        rows = await query
        more = to_cursor(rows[limit - 1]["id"]) if len(rows) > limit else ""
        return ResourceGrantPage(tuple(map(_grant, rows[:limit])), more)

    async def give(self, data: NewResourceGrant) -> ResourceGrant:
        """See `Auth.grant`."""
        check_manager(MANAGE)
        now = self.clock.now()
        await check_held([data.permission], now, data.user_id)
        row = AuthGrant(
            id=new_id(),
            user_id=data.user_id,
            role=data.role or None,
            permission=data.permission,
            resource=data.resource,
            effect=data.effect,
            granted_by=current().actor.name[:128],
            created_at=now,
        )
        if data.role:
            await self.roles.find(data.role)
        async with self.db.transaction():
            if data.user_id is None:
                await self.roles.take(data.role, now)
            else:
                await self.roles.take_account(data.user_id)
            if await AuthGrant.insert(row).on_conflict(action="DO NOTHING").returning(AuthGrant.id):
                await record("grant_given", now, user_id=data.user_id, reason=str(row.id))
                await self._tell(data.user_id, data.role)
                return _grant(row.to_dict())
            return _grant(await self._same(data))

    async def revoke(self, grant_id: UUID) -> None:
        """See `Auth.revoke_grant`."""
        check_manager(MANAGE)
        now = self.clock.now()
        row = await AuthGrant.select().where(AuthGrant.id == grant_id).first()
        if row is None:
            raise NoSuchGrant("there is no grant with this id")
        await check_held([row["permission"]], now, row["user_id"])
        async with self.db.transaction():
            if await AuthGrant.delete().where(AuthGrant.id == grant_id).returning(AuthGrant.id):
                await record("grant_revoked", now, user_id=row["user_id"], reason=str(grant_id))
                await self._tell(row["user_id"], row["role"] or "")

    async def decide(self, question: Question) -> Answer:
        """See `Auth.decide`."""
        actor = current().actor
        verdicts = await self._verdicts(question, actor)
        if question.attempt and not all(verdict.allowed for verdict in verdicts):
            await self._record_denial(question, verdicts, actor)
        return Answer(tuple(verdict.allowed for verdict in verdicts), tuple(verdict.reason for verdict in verdicts))

    async def _verdicts(self, question: Question, actor: Actor) -> Sequence[Verdict]:
        if actor.trusted:
            return [Verdict(True, "platform") for _ in question.resources or ("",)]
        rules = await self._rules(question, actor) if question.resources and actor.kind == "user" else {}
        owned = frozenset(question.owned)
        return [
            decide(
                question.permission,
                resource,
                held=actor.permissions,
                rules=[*rules.get(resource, ()), *rules.get(_all_like(resource), ())],
                owner=actor.kind == "user" and resource in owned,
                scopes=actor.scopes,
            )
            for resource in question.resources or ("",)
        ]

    async def _rules(self, question: Question, actor: Actor) -> Mapping[str, Sequence[Rule]]:
        kinds = set(map(_all_like, question.resources))
        to_them = AuthGrant.user_id == actor.user_id
        subject = to_them | AuthGrant.role.is_in(list(actor.roles)) if actor.roles else to_them
        rows = await AuthGrant.select(AuthGrant.effect, AuthGrant.permission, AuthGrant.resource).where(
            subject & AuthGrant.resource.is_in([*question.resources, *kinds])
        )
        found: dict[str, list[Rule]] = {}
        for row in rows:
            found.setdefault(row["resource"], []).append(Rule(row["effect"], row["permission"], row["resource"]))
        return found

    async def _record_denial(self, question: Question, verdicts: Sequence[Verdict], actor: Actor) -> None:
        for resource, verdict in zip(question.resources or ("",), verdicts, strict=True):
            if not verdict.allowed:
                await record(
                    "access_denied",
                    self.clock.now(),
                    outcome="failure",
                    user_id=actor.user_id if actor.kind == "user" else None,
                    reason=f"{verdict.reason} {question.permission} {resource}".rstrip()[:_REASON],
                )

    async def _same(self, data: NewResourceGrant) -> dict[str, Any]:
        subject = AuthGrant.role == data.role if data.user_id is None else AuthGrant.user_id == data.user_id
        found = (
            await AuthGrant.select()
            .where(
                subject
                & (AuthGrant.resource == data.resource)
                & (AuthGrant.permission == data.permission)
                & (AuthGrant.effect == data.effect)
            )
            .first()
        )
        assert found is not None, "a grant that was there with its subject taken is still there"
        return found

    async def _tell(self, user_id: UUID | None, role: str) -> None:
        await self.events.publish(RoleChanged(role) if user_id is None else AccessChanged(user_id))


def _all_like(resource: str) -> str:
    return f"{resource.partition(':')[0]}:*"


def _grant(row: dict[str, Any]) -> ResourceGrant:
    return ResourceGrant(
        id=row["id"],
        permission=row["permission"],
        resource=row["resource"],
        user_id=row["user_id"],
        role=row["role"] or "",
        effect=row["effect"],
        granted_by=row["granted_by"],
        granted_at=row["created_at"],
    )
