"""Refreshing: a refresh token is spent for a new pair, once (RFC 9700, 4.14.2).

Whoever marks the token's row has spent it; the pair that it gave is kept sealed in that row for the grace window, in
which a repeated use is read as a retry and gets the same pair. Any later use means that somebody holds a copy, so the
whole family ends. What was spent is decided by rows alone, never by comparing times; the clock decides only how long a
retry is one.

A refresh takes the session's row first, and whoever ends sessions takes it too: a revocation that comes second ends the
new pair with the rest, one that came first leaves nothing to refresh.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from orion_core.context import current
from orion_core.contracts.auth import Account, InvalidGrant, RefreshReuseDetected, Tokens
from orion_core.contracts.auth_sessions import Client
from orion_core.errors import Unavailable
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.sealing import Unsealable
from orion_plugins.auth.audit import client_ip, record
from orion_plugins.auth.sessions import Issued, Sessions
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.successors import Successor, open_successor, seal_successor
from orion_plugins.auth.tables import ACTIVE
from orion_plugins.auth.tokens import Grant, fingerprint, is_refresh_token, new_refresh_token

log = logging.getLogger("orion.auth")

_Row = Mapping[str, Any]

# Written out: these run with every refresh, and building them anew costs as much as running them.
_FIND = """
SELECT t.id, t.token_hash, t.used_at, t.expires_at, t.successor, s.id AS session_id, s.client, s.ip_address,
    s.expires_at AS ends_at, s.idle_expires_at, s.revoked_at, s.created_at, s.amr, u.id AS user_id, u.email, u.status,
    u.version
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
WHERE t.token_hash = $1
"""
_TOUCH = """
UPDATE sessions SET last_used_at = $1, idle_expires_at = $2, token_hash = $3
WHERE id = $4 AND revoked_at IS NULL RETURNING id
"""
# The claim, which also forgets what the family's retries could still have asked for.
_SPEND = """
UPDATE refresh_tokens
SET used_at = CASE WHEN id = $1 THEN $2 ELSE used_at END, successor = CASE WHEN id = $1 THEN $3 END
WHERE session_id = $4 AND (id = $1 AND used_at IS NULL OR id <> $1 AND successor IS NOT NULL) RETURNING id
"""
# Its statement begins when the session's row is ours: whoever changes the account ends its sessions in one transaction.
_ADD = """
INSERT INTO refresh_tokens (id, session_id, token_hash, created_at, expires_at)
SELECT $1, $2, $3, $4, $5 FROM users WHERE id = $6 AND version = $7 AND status = $8 RETURNING id
"""
_FORGET = """
UPDATE refresh_tokens SET successor = NULL
WHERE id IN (SELECT id FROM refresh_tokens WHERE successor IS NOT NULL AND used_at <= $1 LIMIT {batch} {locking})
RETURNING id
"""
_BATCH = 1000
_TURNS = 3


@attrs.frozen
class Refreshing:
    """Spends refresh tokens. `tokens` makes the answer of what was issued."""

    db: Database
    events: Events
    clock: Clock
    keyring: Keyring
    settings: AuthSettings
    sessions: Sessions
    tokens: Callable[[Account, Issued], Awaitable[Tokens]]

    async def refresh(self, token: str, client: Client) -> Tokens:
        """See `Auth.refresh`."""
        if not is_refresh_token(token):
            raise _refused()
        # Who loses against another use of the same token looks again and finds it spent; a change of the account that
        # ends no session is met by another turn.
        for _ in range(_TURNS):
            now = self.clock.now()
            row = await self._find(token)
            if row is None or row["client"] != client or _is_somebody_else(row) or not _is_live(row, now):
                raise _refused()
            if row["used_at"] is not None:
                return await self._again(row, now)
            if row["expires_at"] <= now:
                raise _refused()
            if (issued := await self._rotate(row, now)) is not None:
                return issued
        raise Unavailable("the account is being changed: try again")

    async def forget_successors(self) -> None:
        """Blank the pairs whose grace window is over."""
        before = self.clock.now() - self.settings.refresh_grace
        # Rows that a refresh holds it blanks itself.
        forget = _FORGET.format(batch=_BATCH, locking=self.db.dialect.skip_locked)
        while len(await self.db.fetch(forget, before)) == _BATCH:
            pass

    async def _find(self, token: str) -> _Row | None:
        wanted = fingerprint(token)
        rows = await self.db.fetch(_FIND, wanted)
        return rows[0] if rows and hmac.compare_digest(rows[0]["token_hash"], wanted) else None

    async def _rotate(self, row: _Row, now: datetime) -> Tokens | None:
        """Spend the token of `row` and issue its successor; None when it was spent or anything changed meanwhile."""
        successor = new_refresh_token()
        grant = Grant(
            user_id=row["user_id"],
            session_id=row["session_id"],
            version=row["version"],
            signed_in_at=row["created_at"],
            amr=tuple(json.loads(row["amr"])),
        )
        issued = await self.tokens(Account(row["user_id"], row["email"]), Issued(grant, successor))
        sealed = None
        if self.settings.refresh_grace:
            pair = Successor(issued.access_token, successor)
            sealed = seal_successor(self.keyring, row["id"], pair)
        idle = min(now + self.settings.refresh_idle, row["ends_at"])
        hashed = fingerprint(successor)
        try:
            async with self.db.transaction():
                if not await self.db.fetch(_TOUCH, now, idle, hashed, row["session_id"]):
                    raise _Lost
                spent = await self.db.fetch(_SPEND, row["id"], now, sealed, row["session_id"])
                if not any(each["id"] == row["id"] for each in spent):
                    raise _Lost
                added = await self.db.fetch(
                    _ADD, new_id(), row["session_id"], hashed, now, idle, row["user_id"], row["version"], ACTIVE
                )
                if not added:
                    raise _Lost
        except _Lost:
            return None
        return issued

    async def _again(self, row: _Row, now: datetime) -> Tokens:
        """A use of a spent token: the same pair for a retry, else the end of the family."""
        grace = self.settings.refresh_grace
        # Without a window nothing is a retry, whatever the clocks of two processes say.
        if not grace or now >= row["used_at"] + grace:
            await self._reused(row, now)
            raise _refused()
        if row["successor"] is None:
            # The successor has been spent itself: whoever has it goes on.
            raise _refused()
        try:
            pair = open_successor(self.keyring, row["id"], row["successor"])
        except Unsealable:
            log.warning("a retry of a refresh was refused: the keyring lacks the key that its answer was sealed with")
            raise _refused() from None
        left = self.settings.access_ttl - (now - row["used_at"])
        return Tokens(
            user=Account(row["user_id"], row["email"]),
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in=max(0, int(left.total_seconds())),
        )

    async def _reused(self, row: _Row, now: datetime) -> None:
        """End the family of a spent token: either its owner or somebody else holds a copy."""
        session_id, user_id = row["session_id"], row["user_id"]
        async with self.db.transaction():
            if not await self.sessions.revoke(session_id, "refresh_reuse", now):
                return
            await record(
                "refresh_reuse_detected",
                now,
                outcome="failure",
                user_id=user_id,
                session_id=session_id,
                other_ip_address=row["ip_address"],
            )
            await self.events.publish(
                RefreshReuseDetected(
                    session_id=session_id,
                    user_id=user_id,
                    email=row["email"],
                    ip_address=client_ip(),
                    session_ip_address=row["ip_address"],
                    detected_at=now,
                )
            )


class _Lost(Exception):
    """The token was spent, its session ended or its account changed meanwhile: nothing is spent for nothing."""


def _refused() -> InvalidGrant:
    return InvalidGrant("the refresh token does not count: sign in again")


def _is_somebody_else(row: _Row) -> bool:
    """Whether another person than the token's is signed in."""
    actor = current().actor
    return actor.kind == "user" and actor.user_id != row["user_id"]


def _is_live(row: _Row, now: datetime) -> bool:
    """Whether the session of the token goes on."""
    return row["revoked_at"] is None and row["idle_expires_at"] > now and row["status"] == ACTIVE
