"""Sessions: how they begin and end. What their refresh tokens do is in `refreshing`.

A session is the family of all refresh tokens that descend from one sign-in. Whoever ends it takes its row, as a refresh
does, so that of two who meet there one comes second and sees what the first has done.
"""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.contracts.auth import SessionRevoked, SessionStarted
from orion_core.contracts.auth_sessions import Client
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.ports.database import Database
from orion_plugins.auth.audit import client_ip, record, user_agent
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import RefreshToken, Session
from orion_plugins.auth.tokens import Grant, fingerprint, new_refresh_token

_REVOKE = """
UPDATE sessions SET revoked_at = $1, revoked_reason = $2
WHERE id = $3 AND revoked_at IS NULL AND idle_expires_at > $1 RETURNING user_id
"""
_LOCK_USER = "UPDATE users SET version = version WHERE id = $1 RETURNING id"
_REVOKE_ALL = """
UPDATE sessions SET revoked_at = $1, revoked_reason = $2
WHERE user_id = $3 AND id <> $4 AND revoked_at IS NULL AND idle_expires_at > $1 RETURNING id
"""
_NO_SESSION = UUID(int=0)


@attrs.frozen
class Issued:
    """A grant for an access token, and the refresh token that goes with it."""

    grant: Grant
    refresh_token: str = attrs.field(repr=False)


@attrs.frozen
class Sessions:
    """Begins and ends sessions, in the caller's transaction."""

    db: Database
    events: Events
    settings: AuthSettings

    async def start(
        self, user_id: UUID, version: int, amr: tuple[str, ...], now: datetime, client: Client = "token"
    ) -> Issued:
        """Open a session of the account with its first refresh token, kept by `client`; audited and told."""
        session_id, token = new_id(), new_refresh_token()
        ends = now + self.settings.refresh_absolute
        idle = min(now + self.settings.refresh_idle, ends)
        await Session.insert(
            Session(
                id=session_id,
                user_id=user_id,
                token_hash=fingerprint(token),
                expires_at=ends,
                idle_expires_at=idle,
                ip_address=client_ip(),
                user_agent=user_agent(),
                client=client,
                amr=json.dumps(amr),
                created_at=now,
                last_used_at=now,
                revoked_at=None,
            )
        )
        await RefreshToken.insert(
            RefreshToken(
                id=new_id(),
                session_id=session_id,
                token_hash=fingerprint(token),
                created_at=now,
                expires_at=idle,
                used_at=None,
                successor=None,
            )
        )
        await record("signed_in", now, user_id=user_id, session_id=session_id, method=amr[0])
        await self.events.publish(SessionStarted(session_id, user_id, amr[0], now))
        return Issued(Grant(user_id=user_id, session_id=session_id, version=version, signed_in_at=now, amr=amr), token)

    async def revoke(self, session_id: UUID, reason: str, now: datetime) -> bool:
        """End the session, audit and tell it; False when it had ended already."""
        ended = await self.db.fetch(_REVOKE, now, reason, session_id)
        for row in ended:
            await self._ended(session_id, row["user_id"], reason, now)
        return bool(ended)

    async def revoke_all(self, user_id: UUID, reason: str, now: datetime, keep: UUID | None = None) -> list[UUID]:
        """End all sessions of the account but `keep`, audit and tell each; the ids of those that ended.

        Takes the account's row first: a sign-in under way has either opened its session, which ends too, or opens it
        afterwards.
        """
        await self.db.fetch(_LOCK_USER, user_id)
        rows = await self.db.fetch(_REVOKE_ALL, now, reason, user_id, keep or _NO_SESSION)
        ended = [row["id"] for row in rows]
        for session_id in ended:
            await self._ended(session_id, user_id, reason, now)
        return ended

    async def _ended(self, session_id: UUID, user_id: UUID, reason: str, now: datetime) -> None:
        await record("session_revoked", now, user_id=user_id, session_id=session_id, reason=reason)
        await self.events.publish(SessionRevoked(session_id, user_id, reason))


async def grant(session_id: UUID, user_id: UUID, version: int, now: datetime) -> Grant | None:
    """What another access token of the session may say, at the `version` of its account; None when it has ended."""
    session = await (
        Session.select(Session.created_at, Session.amr)
        .where(
            (Session.id == session_id)
            & (Session.user_id == user_id)
            & Session.revoked_at.is_null()
            & (Session.idle_expires_at > now)
        )
        .first()
    )
    if session is None:
        return None
    amr = tuple(json.loads(session["amr"]))
    return Grant(user_id=user_id, session_id=session_id, version=version, signed_in_at=session["created_at"], amr=amr)


async def purge(db: Database, now: datetime, *, batch: int = 1000) -> None:
    """Delete the sessions that are over, and their refresh tokens with them.

    It does so in batches, each in a transaction of its own, so that nobody waits for all of them.
    """
    removed = batch
    while removed == batch:
        async with db.transaction():
            over = await Session.select(Session.id).where(Session.idle_expires_at < now).limit(batch)
            removed = len(over)
            if over:
                # Asked again: a refresh that began in time may have moved the end meanwhile.
                ids = [row["id"] for row in over]
                await Session.delete().where(Session.id.is_in(ids), Session.idle_expires_at < now)
