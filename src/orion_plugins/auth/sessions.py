"""Sessions and their refresh tokens, as statements inside the caller's transaction.

A session is the family of all refresh tokens that descend from one sign-in. Each use of a token marks it and adds its
successor: whoever marks its row has won. The session's row is always taken first: it decides races with revocations.
"""

from __future__ import annotations

import hmac
import json
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.ids import new_id
from orion_core.ports.database import Database
from orion_plugins.auth.audit import client_ip, user_agent
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import ACTIVE, RefreshToken, Session, User
from orion_plugins.auth.tokens import Grant, fingerprint, new_refresh_token

_FIND = """
SELECT t.token_hash, t.used_at, t.expires_at, s.id AS session, s.ip_address, s.expires_at AS absolute,
    s.idle_expires_at, s.revoked_at, s.created_at, s.amr, u.id AS owner, u.email, u.status
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
WHERE t.token_hash = $1
"""


@attrs.frozen(kw_only=True)
class Family:
    """The session of a refresh token, as it was when somebody looked.

    `live` says whether it went on then, `spent` whether the token had been used, `ip_address` where it was opened.
    """

    session_id: UUID
    user_id: UUID
    email: str
    ip_address: str
    live: bool
    spent: bool
    expires_at: datetime
    signed_in_at: datetime
    amr: tuple[str, ...]


@attrs.frozen
class Issued:
    """A grant for an access token, and the refresh token that goes with it."""

    grant: Grant
    refresh_token: str = attrs.field(repr=False)


async def start(user_id: UUID, version: int, amr: tuple[str, ...], now: datetime, settings: AuthSettings) -> Issued:
    """Open a session of the account with its first refresh token."""
    session_id, token = new_id(), new_refresh_token()
    ends, idle = now + settings.refresh_absolute, now + settings.refresh_idle
    await Session.insert(
        Session(
            id=session_id,
            user_id=user_id,
            token_hash=fingerprint(token),
            expires_at=ends,
            idle_expires_at=min(idle, ends),
            ip_address=client_ip(),
            user_agent=user_agent(),
            amr=json.dumps(amr),
            created_at=now,
            last_used_at=now,
            revoked_at=None,
        )
    )
    await _keep(token, session_id, now, min(idle, ends))
    return Issued(Grant(user_id=user_id, session_id=session_id, version=version, signed_in_at=now, amr=amr), token)


async def find(db: Database, token: str, now: datetime) -> Family | None:
    """The family of a refresh token, or None when nobody has been given it."""
    wanted = fingerprint(token)
    rows = await db.fetch(_FIND, wanted)
    row = rows[0] if rows else None
    if row is None or not hmac.compare_digest(row["token_hash"], wanted):
        return None
    spent = row["used_at"] is not None
    live = row["revoked_at"] is None and row["idle_expires_at"] > now and row["status"] == ACTIVE
    return Family(
        session_id=row["session"],
        user_id=row["owner"],
        email=row["email"],
        ip_address=row["ip_address"],
        # A spent token of a living family is a sign of theft for as long as the family lives, whatever its own end was.
        live=live and (spent or row["expires_at"] > now),
        spent=spent,
        expires_at=row["absolute"],
        signed_in_at=row["created_at"],
        amr=tuple(json.loads(row["amr"])),
    )


async def rotate(token: str, family: Family, now: datetime, settings: AuthSettings) -> Issued | None:
    """Spend `token` of `family` and issue its successor; None when it was spent or the session ended meanwhile.

    On None the caller rolls back, so that nothing is spent for nothing.
    """
    successor = new_refresh_token()
    idle = min(now + settings.refresh_idle, family.expires_at)
    touched = (
        await Session.update(
            {Session.last_used_at: now, Session.idle_expires_at: idle, Session.token_hash: fingerprint(successor)}
        )
        .where(Session.id == family.session_id, Session.revoked_at.is_null())
        .returning(Session.id)
    )
    claimed = (
        await RefreshToken.update({RefreshToken.used_at: now})
        .where(RefreshToken.token_hash == fingerprint(token), RefreshToken.used_at.is_null())
        .returning(RefreshToken.id)
    )
    # Read after the session's row is ours: whoever changes the account ends its sessions in the same transaction.
    owner = await User.select(User.version, User.status).where(User.id == family.user_id).first()
    if not touched or not claimed or owner is None or owner["status"] != ACTIVE:
        return None
    await _keep(successor, family.session_id, now, idle)
    grant = Grant(
        user_id=family.user_id,
        session_id=family.session_id,
        version=owner["version"],
        signed_in_at=family.signed_in_at,
        amr=family.amr,
    )
    return Issued(grant, successor)


async def revoke(session_id: UUID, reason: str, now: datetime) -> UUID | None:
    """End the session; the account it belongs to, or None when it had ended already."""
    ended = (
        await Session.update({Session.revoked_at: now, Session.revoked_reason: reason})
        .where(Session.id == session_id, Session.revoked_at.is_null(), Session.idle_expires_at > now)
        .returning(Session.user_id)
    )
    return ended[0]["user_id"] if ended else None


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


async def _keep(token: str, session_id: UUID, now: datetime, until: datetime) -> None:
    await RefreshToken.insert(
        RefreshToken(
            id=new_id(),
            session_id=session_id,
            token_hash=fingerprint(token),
            created_at=now,
            expires_at=until,
            used_at=None,
            successor=None,
        )
    )
