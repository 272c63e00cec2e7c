"""Moving an account to another address: both addresses agree, and the old one can undo it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from orion_core.context import current
from orion_core.contracts.auth import UserEmailChanged
from orion_core.contracts.auth_accounts import AddressTaken, ChangeEmail, EmailChange, MailedToken, StepDone
from orion_core.errors import Conflict
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.ports.database_errors import UniqueViolation
from orion_core.values import invalid
from orion_plugins.auth.accounts import Accounts, address_of
from orion_plugins.auth.attempts import MailLimits
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address, normalise
from orion_plugins.auth.flow_kinds import ACCOUNT_EXISTS, CONFIRMATION, CONSENT, RESET, REVERT
from orion_plugins.auth.flows import Flows, invalid_token
from orion_plugins.auth.new_passwords import Passwords
from orion_plugins.auth.redirects import check_redirect
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import Flow, User


class EmailChanges:
    """The steps of `AccountOperations` about another address."""

    def __init__(
        self,
        db: Database,
        events: Events,
        clock: Clock,
        settings: AuthSettings,
        accounts: Accounts,
        passwords: Passwords,
        flows: Flows,
        mails: MailLimits,
    ) -> None:
        self._db = db
        self._events = events
        self._clock = clock
        self._settings = settings
        self._accounts = accounts
        self._passwords = passwords
        self._flows = flows
        self._mails = mails

    async def ask(self, data: ChangeEmail) -> None:
        """See `AccountOperations.change_email`."""
        current().actor.refuse_impersonated()
        check_redirect(data.redirect_to, self._settings.redirects)
        now, user, new = self._clock.now(), await self._accounts.own(), normalise(data.new_email, field="new_email")
        if new.email == user["email"]:
            raise invalid("new_email", "same", "is the address that the account has")
        session = current().actor.session
        attempt = await self._passwords.confirm(user, data.password, now, field="password")
        async with self._db.transaction():
            await self._passwords.confirmed(attempt, now, field="password")
            old = await self._accounts.lock(user["id"])
            if old is None or old["version"] != user["version"]:
                raise Conflict("the account changed meanwhile: sign in and try again")
            await self._mails.count(now, address_of(user), new)
            other = await self._accounts.find(new)
            await self._flows.end(user["id"], CONSENT, CONFIRMATION)
            step: dict[str, Any] = {
                "user_id": user["id"],
                "redirect_to": data.redirect_to,
                "payload": {"email": new.email, "key": new.key},
                "group_id": new_id(),
                "session_id": UUID(session) if session else None,
            }
            await self._flows.begin(CONSENT, address_of(user), now, **step)
            if other is None or other["id"] == user["id"]:
                await self._flows.begin(CONFIRMATION, new, now, **step)
            else:
                # Nobody learns here that the address has an account, except who reads its mail.
                await self._flows.begin(ACCOUNT_EXISTS, address_of(other), now, user_id=other["id"])
            await record("email_change_requested", now, user_id=user["id"])

    async def confirm(self, data: MailedToken) -> EmailChange:
        """See `AccountOperations.confirm_email_change`."""
        now = self._clock.now()
        flow = await self._flows.by_token(data.token, now, CONSENT, CONFIRMATION)
        wish = self._flows.payload(flow)
        new = Address(wish["email"], wish["key"])
        async with self._moving():
            user = await self._accounts.lock(flow.user_id)
            if user is None:
                raise invalid_token()
            if not await self._flows.spend(flow, now):
                raise invalid_token()
            await record("email_change_confirmed", now, user_id=user["id"], reason=flow.kind)
            other = CONFIRMATION if flow.kind == CONSENT.name else CONSENT
            agreed = await Flow.exists().where(
                (Flow.group_id == flow.group_id)
                & (Flow.kind == other.name)
                & Flow.used_at.is_not_null()
                & (Flow.expires_at > now)
            )
            if not agreed:
                return EmailChange(changed=False, redirect_to=flow.redirect_to)
            old = address_of(user)
            await self._apply(user, new, "email_changed", now, keep=flow.session_id)
            await self._flows.begin(REVERT, old, now, user_id=user["id"], payload={"email": old.email, "key": old.key})
        return EmailChange(changed=True, redirect_to=flow.redirect_to)

    async def revert(self, data: MailedToken) -> StepDone:
        """See `AccountOperations.revert_email_change`."""
        now = self._clock.now()
        flow = await self._flows.by_token(data.token, now, REVERT)
        old = Address(flow.email, flow.email_key)
        async with self._moving():
            user = await self._accounts.lock(flow.user_id)
            if user is None:
                raise invalid_token()
            if not await self._flows.spend(flow, now):
                raise invalid_token()
            # Links to addresses that came later would give the account to whoever took it.
            await Flow.delete().where((Flow.user_id == user["id"]) & (Flow.kind == REVERT.name) & (Flow.id > flow.id))
            # Whoever changed the address knew the password.
            await self._apply(user, old, "email_change_reverted", now, more={User.password_hash: ""})
            await self._flows.begin(RESET, old, now, user_id=user["id"])
        return StepDone()

    async def _apply(
        self,
        user: dict[str, Any],
        address: Address,
        action: str,
        now: datetime,
        *,
        keep: UUID | None = None,
        more: dict[Any, Any] | None = None,
    ) -> None:
        columns = {User.email: address.email, User.email_key: address.key, User.email_verified_at: now, **(more or {})}
        version = await self._accounts.change(user["id"], user["version"], now, columns)
        if version is None:
            raise invalid_token()
        await self._accounts.end_others(user["id"], action, now, keep=keep)
        await record(action, now, user_id=user["id"])
        await self._events.publish(UserEmailChanged(user["id"], address.email, version, now))

    @asynccontextmanager
    async def _moving(self) -> AsyncIterator[None]:
        """A transaction that gives an account another address; raises `AddressTaken`."""
        try:
            async with self._db.transaction():
                yield
        except UniqueViolation as error:
            raise AddressTaken("meanwhile another account has this address") from error
