"""Changing a password, and resetting a forgotten one by mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from orion_core.context import current
from orion_core.contracts.auth_accounts import ChangePassword, ForgotPassword, FreshAccess, ResetPassword, StepDone
from orion_core.errors import Conflict
from orion_core.ids import new_id
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.auth.accounts import Accounts, address_of
from orion_plugins.auth.attempts import MailLimits
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import normalise
from orion_plugins.auth.flow_kinds import NOTHING, PASSWORD_CHANGED, RESET
from orion_plugins.auth.flows import Flows, invalid_token
from orion_plugins.auth.new_passwords import Passwords
from orion_plugins.auth.redirects import check_redirect
from orion_plugins.auth.sessions import grant
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import ACTIVE, User
from orion_plugins.auth.tokens import Grant


class PasswordSteps:
    """The steps of `AccountOperations` about passwords. `issue` makes the access token of a grant."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: AuthSettings,
        accounts: Accounts,
        passwords: Passwords,
        flows: Flows,
        mails: MailLimits,
        issue: Callable[[Grant], Awaitable[FreshAccess]],
    ) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._accounts = accounts
        self._passwords = passwords
        self._flows = flows
        self._mails = mails
        self._issue = issue

    async def change(self, data: ChangePassword) -> FreshAccess:
        """See `AccountOperations.change_password`."""
        actor = current().actor
        actor.refuse_impersonated()
        now, user = self._clock.now(), await self._accounts.own()
        attempt = await self._passwords.confirm(user, data.current_password, now, field="current_password")
        stored = await self._passwords.choose(data.new_password, user["email"], field="new_password")
        async with self._db.transaction():
            await self._passwords.confirmed(attempt, now, field="current_password")
            version = await self._accounts.change(user["id"], user["version"], now, {User.password_hash: stored})
            if version is None:
                raise Conflict("the account changed meanwhile: sign in and try again")
            session = await grant(UUID(actor.session), user["id"], version, now) if actor.session else None
            if session is None:
                raise Conflict("the session ended meanwhile: sign in and try again")
            await self._done(user, "password_changed", now, keep=session.session_id)
        return await self._issue(session)

    async def forgot(self, data: ForgotPassword) -> None:
        """See `AccountOperations.forgot_password`."""
        check_redirect(data.redirect_to, self._settings.redirects)
        now, address = self._clock.now(), normalise(data.email)
        async with self._db.transaction():
            await self._mails.count(now, address)
            user = await self._accounts.find(address)
            # The same statements whether or not there is an account.
            if user is not None and user["status"] == ACTIVE:
                kind, to, user_id = RESET, address_of(user), user["id"]
            else:
                kind, to, user_id = NOTHING, address, None
            await self._flows.end(user_id or new_id(), RESET)
            await self._flows.begin(kind, to, now, user_id=user_id, redirect_to=data.redirect_to)
            await record("password_reset_requested", now, user_id=user_id)

    async def reset(self, data: ResetPassword) -> StepDone:
        """See `AccountOperations.reset_password`."""
        now = self._clock.now()
        flow = await self._flows.by_token(data.token, now, RESET)
        stored = await self._passwords.choose(data.new_password, flow.email, field="new_password")
        async with self._db.transaction():
            user = await self._accounts.lock(flow.user_id)
            if user is None or user["email_key"] != flow.email_key:
                raise invalid_token()
            if not await self._flows.spend(flow, now):
                raise invalid_token()
            # Mail to the address arrived, or nobody would have the token.
            columns = {User.password_hash: stored, User.email_verified_at: user["email_verified_at"] or now}
            await self._accounts.change(user["id"], user["version"], now, columns)
            await self._passwords.forgive(user)
            await self._done(user, "password_reset", now)
        return StepDone(flow.redirect_to)

    async def _done(self, user: dict[str, Any], action: str, now: datetime, *, keep: UUID | None = None) -> None:
        await self._accounts.end_others(user["id"], action, now, keep=keep)
        await record(action, now, user_id=user["id"], session_id=keep)
        await self._flows.begin(PASSWORD_CHANGED, address_of(user), now, user_id=user["id"])
