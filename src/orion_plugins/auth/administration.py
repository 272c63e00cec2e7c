"""Accounts as administrators see them: reading one, closing it, opening it again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.contracts.auth import AccessChanged
from orion_core.contracts.auth_access import AccountDetails, AccountDisabled, AccountEnabled, NoSuchAccount
from orion_core.events import Events
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import normalise
from orion_plugins.auth.holdings import ADMIN, Holder, check_held, check_manager, holder
from orion_plugins.auth.roles import Roles
from orion_plugins.auth.tables import ACTIVE, DISABLED, User

MANAGE = "accounts:manage"
EndSessions = Callable[[UUID, str, datetime], Awaitable[object]]
"""Ends all sessions of an account for a reason, in the running transaction."""

_SWITCH = """
UPDATE users SET status = $2, version = version + 1, updated_at = $4 WHERE id = $1 AND status = $3 RETURNING id
"""


@attrs.frozen
class Administration:
    """The operations on accounts of others."""

    db: Database
    events: Events
    clock: Clock
    roles: Roles
    end_sessions: EndSessions

    async def account(self, user_id: UUID) -> AccountDetails:
        """See `Auth.account`."""
        check_manager(MANAGE)
        found = await holder(self.db, user_id)
        await record("account_read", self.clock.now(), user_id=user_id)
        return _details(found)

    async def account_by_email(self, email: str) -> AccountDetails:
        """See `Auth.account_by_email`."""
        check_manager(MANAGE)
        row = await User.select(User.id).where(User.email_key == normalise(email).key).first()
        if row is None:
            raise NoSuchAccount("there is no account with this address")
        return await self.account(row["id"])

    async def disable(self, user_id: UUID) -> None:
        """See `Auth.disable_account`."""
        now = await self._admitted(user_id)
        async with self.db.transaction():
            # First, as everywhere: two administrators may be disabling each other.
            await self.roles.take(ADMIN, now)
            if not await self.db.fetch(_SWITCH, user_id, DISABLED, ACTIVE, now):
                return
            if ADMIN in (await holder(self.db, user_id)).holdings.roles:
                await self.roles.check_administrators()
            await record("account_disabled", now, user_id=user_id)
            await self.end_sessions(user_id, "account_disabled", now)
            await self.events.publish(AccountDisabled(user_id, now), AccessChanged(user_id))

    async def enable(self, user_id: UUID) -> None:
        """See `Auth.enable_account`."""
        now = await self._admitted(user_id)
        async with self.db.transaction():
            if await self.db.fetch(_SWITCH, user_id, ACTIVE, DISABLED, now):
                await record("account_enabled", now, user_id=user_id)
                await self.events.publish(AccountEnabled(user_id, now), AccessChanged(user_id))

    async def _admitted(self, user_id: UUID) -> datetime:
        """The time, if the caller may close and open this account."""
        check_manager(MANAGE)
        now = self.clock.now()
        await check_held((await holder(self.db, user_id)).holdings.permissions, now, user_id)
        return now


def _details(found: Holder) -> AccountDetails:
    row = found.row
    return AccountDetails(row["id"], row["email"], row["status"], found.holdings.roles, row["created_at"])
