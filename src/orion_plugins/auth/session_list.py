"""Sessions as people and administrators see them, and end them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.auth_access import NoSuchAccount
from orion_core.contracts.auth_sessions import MANAGE_SESSIONS, NoSuchSession, SessionInfo, SessionPage
from orion_core.paging import check_limit, from_cursor, to_cursor
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.auth.audit import record
from orion_plugins.auth.devices import device
from orion_plugins.auth.sessions import Sessions
from orion_plugins.auth.tables import ERASED, Session, User


@attrs.frozen
class SessionList:
    """Keeps the operations of `SessionsOperations`."""

    db: Database
    clock: Clock
    sessions: Sessions

    async def page(self, user_id: UUID, cursor: str, limit: int) -> SessionPage:
        """See `SessionsOperations.sessions_of`."""
        own = await self._admit(user_id)
        check_limit(limit)
        now = self.clock.now()
        wanted = (Session.user_id == user_id) & Session.revoked_at.is_null() & (Session.idle_expires_at > now)
        if cursor:
            wanted &= Session.id < from_cursor(cursor)
        if not own:
            async with self.db.transaction():
                await record("sessions_read", now, user_id=user_id)
        # Ids are UUIDv7: their order is that of time. One row more tells whether there is another page.
        rows = await Session.select().where(wanted).order_by(Session.id, ascending=False).limit(limit + 1)
        return SessionPage(
            items=tuple(_info(row) for row in rows[:limit]),
            next_cursor=to_cursor(rows[limit - 1]["id"]) if len(rows) > limit else None,
        )

    async def end(self, user_id: UUID, session_id: UUID) -> None:
        """See `SessionsOperations.end_session`."""
        current().actor.refuse_impersonated()
        own = await self._admit(user_id)
        if not await Session.exists().where((Session.id == session_id) & (Session.user_id == user_id)):
            raise NoSuchSession("there is no session with this id: list the sessions anew")
        async with self.db.transaction():
            await self.sessions.revoke(session_id, _reason(own), self.clock.now())

    async def end_all(self, user_id: UUID, keep_current: bool) -> None:
        """See `SessionsOperations.end_sessions`."""
        current().actor.refuse_impersonated()
        own = await self._admit(user_id)
        session = current().actor.session
        keep = UUID(session) if keep_current and own and session else None
        async with self.db.transaction():
            await self.sessions.revoke_all(user_id, _reason(own), self.clock.now(), keep)

    async def _admit(self, user_id: UUID) -> bool:
        """Whether the sessions are the caller's own; raises for those of others without permission."""
        actor = current().actor
        if actor.kind == "user" and actor.user_id == user_id:
            return True
        actor.require(MANAGE_SESSIONS)
        if not await User.exists().where((User.id == user_id) & (User.status != ERASED)):
            raise NoSuchAccount("there is no account with this id")
        return False


def _reason(own: bool) -> str:
    return "ended_by_owner" if own else "ended_by_administrator"


def _info(row: Mapping[str, Any]) -> SessionInfo:
    return SessionInfo(
        id=row["id"],
        current=str(row["id"]) == current().actor.session,
        client=row["client"],
        device=device(row["user_agent"]),
        ip_address=row["ip_address"],
        user_agent=row["user_agent"],
        amr=tuple(json.loads(row["amr"])),
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        idle_expires_at=row["idle_expires_at"],
        expires_at=row["expires_at"],
    )
