"""Acting as somebody else: who may, as whom, for how long, and that everybody sees it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.auth import SessionStarted
from orion_core.contracts.auth_access import NoSuchAccount
from orion_core.contracts.auth_impersonation import (
    Impersonate,
    Impersonation,
    NoSuchImpersonation,
    NotImpersonable,
)
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.permissions import covered
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.settings import Settings
from orion_core.values import invalid
from orion_plugins.auth.audit import record
from orion_plugins.auth.holdings import ADMIN, Holder, Holdings, holder
from orion_plugins.auth.sessions import Sessions
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.signing_keys import SigningKeys
from orion_plugins.auth.tables import ACTIVE, Session
from orion_plugins.auth.tokens import Grant, access_token

PERMISSION = "accounts:impersonate"
METHOD = "impersonation"


@attrs.frozen(kw_only=True)
class ImpersonationPart:
    """Keeps `ImpersonationOperations`."""

    db: Database
    events: Events
    clock: Clock
    settings: AuthSettings
    platform: Settings
    signing: SigningKeys
    sessions: Sessions

    async def begin(self, user_id: UUID, data: Impersonate) -> Impersonation:
        """See `ImpersonationOperations.impersonate`."""
        actor = current().actor
        actor.require(PERMISSION)
        actor.refuse_impersonated()
        impersonator = actor.user_id
        reason = data.reason.strip()
        if not reason:
            raise invalid("reason", "too_short", "must not be blank: say why, auditors will read it")
        now, session_id = self.clock.now(), new_id()
        try:
            async with self.db.transaction():
                version = await self._claim(user_id, impersonator)
                await self._open(session_id, user_id, impersonator, now)
                await record(
                    "impersonation_started",
                    now,
                    user_id=user_id,
                    session_id=session_id,
                    method=METHOD,
                    note=reason,
                )
                await self.events.publish(SessionStarted(session_id, user_id, METHOD, now))
        except NotImpersonable:
            await record(
                "impersonation_started",
                now,
                outcome="failure",
                user_id=user_id,
                reason="not_impersonable",
                method=METHOD,
                note=reason,
            )
            raise
        ttl = self.settings.impersonation_ttl
        grant = Grant(
            user_id=user_id,
            session_id=session_id,
            version=version,
            signed_in_at=now,
            amr=(),
            impersonator=impersonator,
        )
        token = access_token(grant, await self.signing.signer(), issuer=self.platform.issuer, now=now, ttl=ttl)
        return Impersonation(session_id, user_id, token, int(ttl.total_seconds()))

    async def end(self, session_id: UUID) -> None:
        """See `ImpersonationOperations.end_impersonation`."""
        actor = current().actor
        actor.require(PERMISSION)
        actor.refuse_impersonated()
        known = "SELECT user_id FROM sessions WHERE id = $1 AND impersonator_id IS NOT NULL"
        found = await self.db.fetch(known, session_id)
        if not found:
            raise NoSuchImpersonation(f"there is no impersonation with the id {session_id}")
        now = self.clock.now()
        async with self.db.transaction():
            if await self.sessions.revoke(session_id, "impersonation_ended", now):
                await record(
                    "impersonation_ended", now, user_id=found[0]["user_id"], session_id=session_id, method=METHOD
                )

    async def _claim(self, user_id: UUID, impersonator: UUID) -> int:
        """The epoch of an account as which `impersonator` may act; raises `NoSuchAccount` and `NotImpersonable`."""
        if user_id == impersonator:
            raise NotImpersonable("this is you: nobody needs to act as themselves")
        target = await holder(self.db, user_id)
        if target.row["status"] != ACTIVE:
            raise NoSuchAccount(f"there is no open account with the id {user_id}")
        if not await self.goes_on(impersonator, target.holdings):
            raise NotImpersonable("nobody acts as an administrator, or as somebody who may more than they do")
        return int((await self.db.fetch("SELECT version FROM users WHERE id = $1", user_id))[0]["version"])

    async def goes_on(self, impersonator: UUID, target: Holdings) -> bool:
        """Whether `impersonator` may act as somebody who holds `target`, now."""
        try:
            return may_impersonate(await holder(self.db, impersonator), target)
        except NoSuchAccount:
            return False

    async def _open(self, session_id: UUID, user_id: UUID, impersonator: UUID, now: datetime) -> None:
        ends = now + self.settings.impersonation_ttl
        await Session.insert(
            Session(
                id=session_id,
                user_id=user_id,
                # No refresh token has an empty hash.
                token_hash="",
                expires_at=ends,
                idle_expires_at=ends,
                # Where the impersonator is, is nothing that the person's list of sessions should show.
                ip_address="",
                user_agent="",
                amr="[]",
                created_at=now,
                last_used_at=now,
                revoked_at=None,
                impersonator_id=impersonator,
            )
        )


def may_impersonate(impersonator: Holder, target: Holdings) -> bool:
    """Whether the account `impersonator` may act as somebody who holds `target`."""
    if impersonator.row["status"] != ACTIVE or ADMIN in target.roles:
        return False
    held = impersonator.holdings.permissions
    return (
        covered(held, PERMISSION)
        and all(covered(held, each) for each in target.permissions)
        and not covered(target.permissions, PERMISSION)
    )
