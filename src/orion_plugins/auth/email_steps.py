"""Verifying addresses by mail, and registrations that wait for it."""

from __future__ import annotations

from uuid import UUID

from orion_core.contracts.auth import EmailTaken
from orion_core.contracts.auth_accounts import AddressTaken, Pending, ResendVerification, Verified, VerifyEmail
from orion_core.errors import Invalid
from orion_core.ids import new_id
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.auth.accounts import Accounts, address_of
from orion_plugins.auth.attempts import MailLimits
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address, normalise
from orion_plugins.auth.flow_kinds import ACCOUNT_EXISTS, NOTHING, REGISTRATION, VERIFY
from orion_plugins.auth.flows import Flows, invalid_code, invalid_token
from orion_plugins.auth.redirects import check_redirect
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import ACTIVE, Flow, User

METHOD = "email"


class EmailSteps:
    """The steps of `AccountOperations` about verifying an address.

    Nothing of a registration is an account before its address is verified: each has a step of its own with its own
    password, so that nobody can prepare an account for somebody else's address.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: AuthSettings,
        accounts: Accounts,
        flows: Flows,
        mails: MailLimits,
    ) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._accounts = accounts
        self._flows = flows
        self._mails = mails

    async def register(self, address: Address, password_hash: str, name: str, redirect_to: str) -> Pending:
        """Let a registration wait for its address, or tell the owner of the account that has it."""
        now = self._clock.now()
        async with self._db.transaction():
            await self._mails.count(now, address)
            user = await self._accounts.find(address)
            if user is None:
                kind, user_id, to = REGISTRATION, new_id(), address
            else:
                # Written to as the account has it: what was typed may be somebody else's mailbox.
                kind, user_id, to = ACCOUNT_EXISTS, user["id"], address_of(user)
            payload = {"password_hash": password_hash, "name": name}
            flow_id = await self._flows.begin(kind, to, now, user_id=user_id, redirect_to=redirect_to, payload=payload)
            action = "registration_requested" if user is None else "user_repeated_signup"
            await record(action, now, user_id=user["id"] if user else None)
        return Pending(flow_id)

    async def resend(self, data: ResendVerification) -> Pending:
        """See `AccountOperations.resend_verification`."""
        check_redirect(data.redirect_to, self._settings.redirects)
        now, address = self._clock.now(), normalise(data.email)
        async with self._db.transaction():
            await self._mails.count(now, address)
            user = await self._accounts.find(address)
            waiting = await (
                Flow.objects()
                .where(
                    (Flow.id == (data.flow_id or new_id()))
                    & (Flow.email_key == address.key)
                    & (Flow.kind == REGISTRATION.name)
                    & Flow.used_at.is_null()
                    & (Flow.expires_at > now)
                )
                .first()
            )
            kind, to, user_id = NOTHING, address, None
            payload: dict[str, str] | None = None
            if user is not None:
                if user["status"] == ACTIVE and user["email_verified_at"] is None:
                    kind, to, user_id = VERIFY, address_of(user), user["id"]
                    await self._flows.end(user["id"], VERIFY)
            elif waiting is not None:
                kind, to, user_id = REGISTRATION, Address(waiting.email, waiting.email_key), waiting.user_id
                payload = self._flows.payload(waiting)
                await self._flows.end(waiting.user_id, REGISTRATION)
            flow_id = await self._flows.begin(
                kind, to, now, user_id=user_id, redirect_to=data.redirect_to, payload=payload
            )
            await record("verification_requested", now, user_id=user["id"] if user else None)
        return Pending(flow_id)

    async def verify(self, data: VerifyEmail) -> Verified:
        """See `AccountOperations.verify_email`."""
        if bool(data.token) == (data.flow_id is not None):
            raise invalid("token", "missing", "give either the token of the link, or flow_id with the code")
        now = self._clock.now()
        if data.flow_id is None:
            flow = await self._flows.by_token(data.token, now, VERIFY, REGISTRATION)
            refused: Invalid = invalid_token()
        else:
            flow = await self._flows.by_code(data.flow_id, data.code, now)
            refused = invalid_code()
        async with self._db.transaction():
            if flow.kind == REGISTRATION.name:
                return await self._open(flow, refused)
            user = await self._accounts.lock(flow.user_id)
            if user is None or user["email_key"] != flow.email_key or not await self._flows.spend(flow, now):
                raise refused
            await User.update({User.email_verified_at: now, User.updated_at: now}).where(User.id == user["id"])
            await record("email_verified", now, user_id=user["id"], method=METHOD)
        return Verified(user["email"], flow.redirect_to)

    async def _open(self, flow: Flow, refused: Invalid) -> Verified:
        now, waiting = self._clock.now(), self._flows.payload(flow)
        if not await self._flows.spend(flow, now):
            raise refused
        user_id: UUID = flow.user_id
        try:
            account = await self._accounts.open(
                Address(flow.email, flow.email_key),
                waiting["password_hash"],
                waiting["name"],
                now,
                method=METHOD,
                user_id=user_id,
                verified=True,
            )
        except EmailTaken as error:
            raise AddressTaken("meanwhile there is an account with this address: sign in") from error
        # Other registrations of the address can open nothing any more, and stay until they expire: deleting them here
        # would wait for those who confirm one at this moment, and who wait for this account.
        return Verified(account.email, flow.redirect_to)
