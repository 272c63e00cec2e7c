"""The service of auth: opens accounts and sessions, and says what a session may do."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.auth import (
    Access,
    AccessChanged,
    Account,
    Auth,
    EmailTaken,
    InvalidCredentials,
    InvalidGrant,
    Login,
    Me,
    PublicKey,
    Register,
    Registration,
    SessionRevoked,
    SessionStarted,
    Tokens,
)
from orion_core.contracts.auth_accounts import (
    ChangeEmail,
    ChangePassword,
    EmailChange,
    ForgotPassword,
    FreshAccess,
    MailedToken,
    Pending,
    ResendVerification,
    ResetPassword,
    StepDone,
    Verified,
    VerifyEmail,
)
from orion_core.contracts.notifications import Notifications
from orion_core.contracts.users import UserErased
from orion_core.errors import Conflict, Error, Forbidden, Unauthenticated
from orion_core.events import Events, on
from orion_core.ids import new_id
from orion_core.jobs import Jobs, job
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.settings import Settings
from orion_plugins.auth import sessions
from orion_plugins.auth.account_parts import AccountParts, account_parts
from orion_plugins.auth.attempts import Attempt
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address, normalise, normalised_or_none
from orion_plugins.auth.erasing import erase_account
from orion_plugins.auth.flow_kinds import RESET
from orion_plugins.auth.hashing import HashingPool
from orion_plugins.auth.passwords import decoy, hash_password, needs_rehash, verify_password
from orion_plugins.auth.redirects import check_redirect
from orion_plugins.auth.roles import ADMIN, permissions_of
from orion_plugins.auth.settings import IMMEDIATE, AuthSettings
from orion_plugins.auth.tables import ACTIVE, ERASED, User
from orion_plugins.auth.tokens import Grant, access_token, is_refresh_token, public_key

PASSWORD = ("pwd",)
# Asked with every request where auth is served, so written out: building it anew costs many times its execution.
_ACCESS = """
SELECT s.idle_expires_at, u.version, u.status, u.roles FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = $1 AND s.revoked_at IS NULL
"""


@attrs.define(eq=False)
class AuthService(Auth):
    """Keeps `Auth` on one database. Passwords are hashed before any transaction begins."""

    db: Database
    events: Events
    jobs: Jobs
    clock: Clock
    keyring: Keyring
    notifications: Notifications
    settings: AuthSettings
    platform: Settings
    _hashing: HashingPool = attrs.field(init=False, repr=False)
    _decoy: str = attrs.field(init=False, repr=False)
    _parts: AccountParts = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._hashing = HashingPool(queue=self.settings.hashing_queue)
        self._decoy = decoy(self.keyring.pepper[0])
        self._parts = account_parts(
            db=self.db,
            events=self.events,
            jobs=self.jobs,
            clock=self.clock,
            keyring=self.keyring,
            notifications=self.notifications,
            settings=self.settings,
            platform=self.platform,
            hashing=self._hashing,
            mail_flow=self.mail_flow,
            issue=self._issue,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._hashing.close)

    async def register(self, data: Register) -> Account:
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            return await self._parts.accounts.open(address, password_hash, data.name, self.clock.now())

    async def sign_up(self, data: Register) -> Tokens:
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            account = await self._parts.accounts.open(address, password_hash, data.name, self.clock.now())
            issued = await self._start_session(account.id, version=1)
        return self._tokens(account, issued)

    async def request_account(self, data: Register) -> Registration:
        check_redirect(data.redirect_to, self.settings.redirects)
        if self.settings.registration == IMMEDIATE:
            return Registration(tokens=await self.sign_up(data))
        address, password_hash = await self._prepare(data)
        return Registration(
            pending=await self._parts.email_steps.register(address, password_hash, data.name, data.redirect_to)
        )

    async def login(self, data: Login) -> Tokens:
        now, address = self.clock.now(), normalised_or_none(data.email)
        attempt = self._parts.limits.attempt(address.key if address else data.email)
        allowed = await self._parts.limits.admit(attempt, now)
        user = await self._parts.accounts.find(address) if address else None
        # Whatever is wrong, one bcrypt of the same cost is computed and one row is written.
        stored = user["password_hash"] if user and user["password_hash"] else self._decoy
        peppers = self.keyring.pepper
        matches = await self._hashing.run(verify_password, data.password, stored, peppers)
        if user is None or not matches or not allowed or user["status"] != ACTIVE:
            raise await self._refused(user, matches, attempt, allowed=allowed)
        if needs_rehash(stored, peppers[0]):
            stored = await self._hashing.run(hash_password, data.password, peppers[0])
        issued = None
        async with self.db.transaction():
            allowed = await self._parts.limits.succeeded(attempt, now)
            # An account whose password or status changed since it was read has another version.
            claimed = (
                await User.update({User.password_hash: stored})
                .where(User.id == user["id"], User.version == user["version"], User.status == ACTIVE)
                .returning(User.id)
            )
            if allowed and claimed:
                await self._parts.flows.end(user["id"], RESET)
                issued = await self._start_session(user["id"], user["version"])
        if issued is None:
            raise await self._refused(user, matches, attempt, allowed=allowed)
        return self._tokens(Account(user["id"], user["email"]), issued)

    async def refresh(self, refresh_token: str) -> Tokens:
        """See `Auth.refresh`."""
        now = self.clock.now()
        family = await sessions.find(self.db, refresh_token, now) if is_refresh_token(refresh_token) else None
        if family is None or not family.live:
            raise _invalid_grant()
        try:
            if family.spent:
                raise _Lost
            async with self.db.transaction():
                issued = await sessions.rotate(refresh_token, family, now, self.settings)
                if issued is None:
                    raise _Lost
        except _Lost:
            await self._reused(refresh_token)
            raise _invalid_grant() from None
        return self._tokens(Account(family.user_id, family.email), issued)

    async def logout(self, refresh_token: str) -> None:
        """See `Auth.logout`."""
        now = self.clock.now()
        actor = current().actor
        ended = {UUID(actor.session)} if actor.kind == "user" and actor.session else set()
        if is_refresh_token(refresh_token) and (family := await sessions.find(self.db, refresh_token, now)):
            ended.add(family.session_id)
        for session_id in ended:
            async with self.db.transaction():
                await self._end_session(session_id, "logout", now)

    async def change_password(self, data: ChangePassword) -> FreshAccess:
        return await self._parts.password_steps.change(data)

    async def forgot_password(self, data: ForgotPassword) -> None:
        await self._parts.password_steps.forgot(data)

    async def reset_password(self, data: ResetPassword) -> StepDone:
        return await self._parts.password_steps.reset(data)

    async def verify_email(self, data: VerifyEmail) -> Verified:
        return await self._parts.email_steps.verify(data)

    async def resend_verification(self, data: ResendVerification) -> Pending:
        return await self._parts.email_steps.resend(data)

    async def change_email(self, data: ChangeEmail) -> None:
        await self._parts.email_changes.ask(data)

    async def confirm_email_change(self, data: MailedToken) -> EmailChange:
        return await self._parts.email_changes.confirm(data)

    async def revert_email_change(self, data: MailedToken) -> StepDone:
        return await self._parts.email_changes.revert(data)

    async def me(self) -> Me:
        """See `Auth.me`."""
        user_id = current().actor.user_id
        user = await User.select(User.email, User.roles, User.status).where(User.id == user_id).first()
        if user is None or user["status"] != ACTIVE:
            raise Unauthenticated("the account is closed")
        roles = _roles(user)
        return Me(user_id, user["email"], roles, permissions_of(roles))

    async def keys(self) -> tuple[PublicKey, ...]:
        """See `Auth.keys`."""
        return tuple(public_key(key) for key in self.keyring.signing)

    async def access(self, session_id: UUID, version: int) -> Access:
        """See `Auth.access`."""
        if not current().actor.trusted:
            raise Forbidden("only services may ask what a session may do")
        rows = await self.db.fetch(_ACCESS, session_id)
        row = rows[0] if rows else None
        if (
            row is None
            or row["idle_expires_at"] <= self.clock.now()
            or row["status"] != ACTIVE
            or row["version"] != version
        ):
            return Access(active=False)
        roles = _roles(row)
        return Access(True, roles, permissions_of(roles))

    async def create_admin(self, data: Register) -> Account:
        """See `Auth.create_admin`."""
        if current().actor.kind != "system":
            raise Forbidden("only the system itself may make administrators")
        address = normalise(data.email)
        if await self._parts.accounts.find(address) is None:
            _, password_hash = await self._prepare(data)
            try:
                async with self.db.transaction():
                    return await self._parts.accounts.open(
                        address, password_hash, data.name, self.clock.now(), roles=(ADMIN,)
                    )
            except EmailTaken:
                pass  # somebody was faster: that account gets the role
        async with self.db.transaction():
            return await self._grant(address, ADMIN)

    @on(UserErased)
    async def erase_account(self, event: UserErased) -> None:
        """Close and anonymise the account of a person who is to be forgotten, and end their sessions everywhere."""
        ended = await erase_account(event.user_id, self.clock.now())
        if ended is None:
            return
        for session_id in ended:
            await self.events.publish(SessionRevoked(session_id, event.user_id, "erased"))
        await self.events.publish(AccessChanged(event.user_id))

    @job(retries=8)
    async def mail_flow(self, flow_id: UUID) -> None:
        """Have the mail of a mailed step sent."""
        await self._parts.mails.send(flow_id, self.clock.now())

    @job(every=timedelta(hours=1))
    async def purge(self) -> None:
        """Delete what is over: sessions, mailed steps, counters of attempts."""
        now = self.clock.now()
        await sessions.purge(self.db, now)
        await self._parts.flows.purge(now)
        await self._parts.throttles.purge(now)

    async def _prepare(self, data: Register) -> tuple[Address, str]:
        address = normalise(data.email)
        return address, await self._parts.passwords.choose(data.password, address.email)

    async def _start_session(self, user_id: UUID, version: int) -> sessions.Issued:
        now = self.clock.now()
        issued = await sessions.start(user_id, version, PASSWORD, now, self.settings)
        session_id = issued.grant.session_id
        await record("signed_in", now, user_id=user_id, session_id=session_id, method=PASSWORD[0])
        await self.events.publish(SessionStarted(session_id, user_id, PASSWORD[0], now))
        return issued

    async def _end_session(self, session_id: UUID, reason: str, now: datetime) -> None:
        user_id = await sessions.revoke(session_id, reason, now)
        if user_id is not None:
            await record("session_revoked", now, user_id=user_id, session_id=session_id, reason=reason)
            await self.events.publish(SessionRevoked(session_id, user_id, reason))

    async def _reused(self, refresh_token: str) -> None:
        """End the family of a spent token: either its owner or somebody else holds a copy."""
        now = self.clock.now()
        family = await sessions.find(self.db, refresh_token, now)
        if family is None or not family.spent or not family.live:
            return
        async with self.db.transaction():
            await record(
                "refresh_reuse_detected",
                now,
                outcome="failure",
                user_id=family.user_id,
                session_id=family.session_id,
                other_ip_address=family.ip_address,
            )
            await self._end_session(family.session_id, "refresh_reuse", now)

    async def _refused(self, user: dict[str, Any] | None, matches: bool, attempt: Attempt, *, allowed: bool) -> Error:
        if user is None:
            reason = "unknown_account"
        elif not user["password_hash"]:
            reason = "no_password"
        elif not matches:
            reason = "wrong_password"
        elif not allowed:
            reason = "too_early"
        else:
            reason = "account_closed"
        # The same statements whoever it is. They take the account's row: who was erased meanwhile is named no more.
        user_id, now = user["id"] if user else new_id(), self.clock.now()
        async with self.db.transaction():
            too_many = await self._parts.limits.failed(attempt, now)
            there = (
                await User.update({User.version: User.version})
                .where(User.id == user_id, User.status != ERASED)
                .returning(User.id)
            )
            await record(
                "signed_in",
                now,
                outcome="failure",
                user_id=user_id if there else None,
                reason=reason,
                method=PASSWORD[0],
            )
        return too_many or InvalidCredentials("the email address or the password is wrong")

    async def _grant(self, address: Address, role: str) -> Account:
        user = await self._parts.accounts.find(address)
        if user is None:
            raise Unauthenticated("the account is closed")
        roles = _roles(user)
        if role not in roles:
            now = self.clock.now()
            granted = (
                await User.update({User.roles: json.dumps([*roles, role]), User.updated_at: now})
                .where(User.id == user["id"], User.roles == user["roles"])
                .returning(User.id)
            )
            if not granted:
                raise Conflict("the account changed meanwhile: try again")
            await record("role_granted", now, user_id=user["id"], reason=role)
            await self.events.publish(AccessChanged(user["id"]))
        return Account(user["id"], user["email"])

    def _tokens(self, account: Account, issued: sessions.Issued) -> Tokens:
        fresh = self._issue(issued.grant)
        return Tokens(
            user=account,
            access_token=fresh.access_token,
            refresh_token=issued.refresh_token,
            expires_in=fresh.expires_in,
        )

    def _issue(self, grant: Grant) -> FreshAccess:
        ttl, now = self.settings.access_ttl, self.clock.now()
        token = access_token(grant, self.keyring.signing[0], issuer=self.platform.issuer, now=now, ttl=ttl)
        return FreshAccess(token, expires_in=int(ttl.total_seconds()))


class _Lost(Exception):
    """The refresh token was spent before, or somebody else was faster."""


def _invalid_grant() -> InvalidGrant:
    return InvalidGrant("the refresh token does not count: sign in again")


def _roles(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(json.loads(row["roles"]))
