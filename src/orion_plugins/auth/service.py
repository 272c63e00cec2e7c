"""The service of auth: opens accounts and sessions, and says what a session may do."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
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
    Login,
    Me,
    PublicKey,
    Register,
    Registration,
    SessionRevoked,
    SignIn,
    Tokens,
)
from orion_core.contracts.auth_access import NoSuchAccount
from orion_core.contracts.auth_accounts import FreshAccess
from orion_core.contracts.auth_factors import MfaChallenge, SecondFactorNeeded, VerifyFactor
from orion_core.contracts.auth_sessions import Client, SessionPage
from orion_core.contracts.notifications import Notifications
from orion_core.contracts.users import UserErased
from orion_core.errors import Error, Forbidden, Unauthenticated
from orion_core.events import Events, on
from orion_core.ids import new_id
from orion_core.jobs import Jobs, job
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.settings import Settings
from orion_plugins.auth import factors
from orion_plugins.auth.access import AccessParts, AccessService
from orion_plugins.auth.account_parts import AccountParts, AccountService, account_parts
from orion_plugins.auth.attempts import Attempt
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address, normalise, normalised_or_none
from orion_plugins.auth.erasing import erase_account
from orion_plugins.auth.flow_kinds import RESET
from orion_plugins.auth.hashing import HashingPool
from orion_plugins.auth.holdings import ADMIN, COLUMNS, JOINS, Holdings, holder
from orion_plugins.auth.passwords import decoy, hash_password, needs_rehash, verify_password
from orion_plugins.auth.redirects import check_redirect
from orion_plugins.auth.refreshing import Refreshing
from orion_plugins.auth.security import Security, SecurityOperations
from orion_plugins.auth.session_list import SessionList
from orion_plugins.auth.sessions import Issued, Sessions, purge
from orion_plugins.auth.settings import IMMEDIATE, AuthSettings
from orion_plugins.auth.tables import ACTIVE, ERASED, User
from orion_plugins.auth.tokens import Grant, access_token, fingerprint, is_refresh_token

PASSWORD = ("pwd",)
# Asked with every request where auth is served, so written out: building it anew costs many times its execution.
_ACCESS = f"""
SELECT s.idle_expires_at, s.amr, s.impersonator_id AS impersonator, u.version, {COLUMNS}
FROM sessions s JOIN users u ON u.id = s.user_id {JOINS}
WHERE s.id = $1 AND s.revoked_at IS NULL
"""
_SESSION_OF = "SELECT session_id FROM refresh_tokens WHERE token_hash = $1"


@attrs.define(eq=False)
class AuthService(AccessService, AccountService, SecurityOperations, Auth):
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
    _security: Security = attrs.field(init=False, repr=False)
    _sessions: Sessions = attrs.field(init=False, repr=False)
    _session_list: SessionList = attrs.field(init=False, repr=False)
    _refreshing: Refreshing = attrs.field(init=False, repr=False)
    _access: AccessParts = attrs.field(init=False, repr=False)
    _accounts: AccountParts = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._hashing = HashingPool(queue=self.settings.hashing_queue)
        self._decoy = decoy(self.keyring.pepper[0])
        self._sessions = Sessions(self.db, self.events, self.settings)
        self._security = Security.on(
            self.db,
            self.events,
            keyring=self.keyring,
            clock=self.clock,
            settings=self.settings,
            platform=self.platform,
            sessions=self._sessions,
        )
        self._session_list = SessionList(self.db, self.clock, self._sessions)
        self._refreshing = Refreshing(
            self.db, self.events, self.clock, self.keyring, self.settings, self._sessions, self._tokens
        )
        self._access = AccessParts.of(self.db, self.events, self.clock, self.settings, self._sessions.revoke_all)
        self._accounts = account_parts(
            db=self.db,
            events=self.events,
            jobs=self.jobs,
            clock=self.clock,
            keyring=self.keyring,
            notifications=self.notifications,
            settings=self.settings,
            platform=self.platform,
            sessions=self._sessions,
            hashing=self._hashing,
            mail_flow=self.mail_flow,
            issue=self._issue,
        )

    async def __aenter__(self) -> Self:
        await self._security.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._security.close()
        await asyncio.to_thread(self._hashing.close)

    async def register(self, data: Register) -> Account:
        """See `Auth.register`."""
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            return await self._accounts.accounts.open(address, password_hash, data.name, self.clock.now())

    async def sign_up(self, data: Register, client: Client = "token") -> Tokens:
        """See `Auth.sign_up`."""
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            account = await self._accounts.accounts.open(address, password_hash, data.name, self.clock.now())
            issued = await self._start_session(account.id, 1, client)
        return await self._tokens(account, issued)

    async def request_account(self, data: Register, client: Client = "token") -> Registration:
        """See `Auth.request_account`."""
        check_redirect(data.redirect_to, self.settings.redirects)
        if self.settings.registration == IMMEDIATE:
            return Registration(tokens=await self.sign_up(data, client))
        address, password_hash = await self._prepare(data)
        pending = await self._accounts.email_steps.register(address, password_hash, data.name, data.redirect_to)
        return Registration(pending=pending)

    async def login(self, data: Login, client: Client = "token") -> Tokens:
        """See `Auth.login`."""
        done = await self.sign_in(data, client)
        if done.tokens is None:
            raise SecondFactorNeeded("a second factor is asked for: sign in where it can be given")
        return done.tokens

    async def verify_factor(self, data: VerifyFactor, client: Client = "token") -> Tokens:
        """See `Auth.verify_factor`."""
        user, issued = await self._accounts.sign_in_factors.verify(data, client)
        return await self._tokens(Account(user["id"], user["email"]), issued)

    async def sign_in(self, data: Login, client: Client = "token") -> SignIn:
        """See `Auth.sign_in`."""
        now, address = self.clock.now(), normalised_or_none(data.email)
        limits = self._accounts.limits
        attempt = limits.attempt(address.key if address else data.email)
        allowed = await limits.admit(attempt, now)
        user = await self._accounts.accounts.find(address) if address else None
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
            allowed = await limits.succeeded(attempt, now)
            # An account whose password or status changed since it was read has another version.
            claimed = (
                await User.update({User.password_hash: stored})
                .where(User.id == user["id"], User.version == user["version"], User.status == ACTIVE)
                .returning(User.id)
            )
            if allowed and claimed:
                await self._accounts.flows.end(user["id"], RESET)
                finish = self._accounts.sign_in_factors.finish
                issued = await finish(user["id"], user["version"], PASSWORD, client, now)
        if issued is None:
            raise await self._refused(user, matches, attempt, allowed=allowed)
        if isinstance(issued, MfaChallenge):
            return SignIn(challenge=issued)
        return SignIn(tokens=await self._tokens(Account(user["id"], user["email"]), issued))

    async def refresh(self, refresh_token: str, client: Client = "token") -> Tokens:
        """See `Auth.refresh`."""
        return await self._refreshing.refresh(refresh_token, client)

    async def logout(self, refresh_token: str) -> None:
        """See `Auth.logout`."""
        now = self.clock.now()
        actor = current().actor
        ended = {UUID(actor.session)} if actor.kind == "user" and actor.session else set()
        if is_refresh_token(refresh_token):
            ended.update(row["session_id"] for row in await self.db.fetch(_SESSION_OF, fingerprint(refresh_token)))
        for session_id in ended:
            async with self.db.transaction():
                await self._sessions.revoke(session_id, "logout", now)

    async def sessions_of(self, user_id: UUID, cursor: str, limit: int) -> SessionPage:
        """See `Auth.sessions_of`."""
        return await self._session_list.page(user_id, cursor, limit)

    async def end_session(self, user_id: UUID, session_id: UUID) -> None:
        """See `Auth.end_session`."""
        await self._session_list.end(user_id, session_id)

    async def end_sessions(self, user_id: UUID, keep_current: bool) -> None:
        """See `Auth.end_sessions`."""
        await self._session_list.end_all(user_id, keep_current)

    async def me(self) -> Me:
        """See `Auth.me`."""
        user_id = current().actor.user_id
        try:
            found = await holder(self.db, user_id)
        except NoSuchAccount:
            found = None
        if found is None or found.row["status"] != ACTIVE:
            raise Unauthenticated("the account is closed")
        impersonator = current().actor.impersonator
        acting = UUID(impersonator) if impersonator else None
        return Me(user_id, found.row["email"], found.holdings.roles, found.holdings.permissions, acting)

    async def keys(self) -> tuple[PublicKey, ...]:
        """See `Auth.keys`."""
        return await self._security.signing.published()

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
        held = Holdings.of(rows)
        impersonator = row["impersonator"]
        if impersonator is not None and not await self._security.impersonation.goes_on(impersonator, held):
            return Access(active=False)
        if self.settings.admin_factor and ADMIN in held.roles and factors.MFA not in json.loads(row["amr"]):
            # They may do what everybody may: enrol a factor, and sign in with it.
            return Access(True)
        return Access(True, held.roles, held.permissions, held.granted)

    async def create_admin(self, data: Register) -> Account:
        """See `Auth.create_admin`."""
        if current().actor.kind != "system":
            raise Forbidden("only the system itself may make administrators")
        address = normalise(data.email)
        if await self._accounts.accounts.find(address) is None:
            _, password_hash = await self._prepare(data)
            try:
                async with self.db.transaction():
                    account = await self._accounts.accounts.open(address, password_hash, data.name, self.clock.now())
                    await self._access.roles.give(account.id, ADMIN, self.clock.now())
                    return account
            except EmailTaken:
                pass  # somebody was faster: that account gets the role
        async with self.db.transaction():
            user = await self._accounts.accounts.find(address)
            if user is None or user["status"] != ACTIVE:
                raise Unauthenticated("the account is closed: enable it first")
            await self._access.roles.take_account(user["id"])
            await self._access.roles.give(user["id"], ADMIN, self.clock.now())
            return Account(user["id"], user["email"])

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
        await self._accounts.mails.send(flow_id, self.clock.now())

    @job(every=timedelta(hours=1))
    async def purge(self) -> None:
        """Delete what is over: sessions, API keys, mailed steps, counters of attempts."""
        now = self.clock.now()
        await purge(self.db, now)
        await self._access.api_keys.purge()
        await self._accounts.flows.purge(now)
        await self._accounts.throttles.purge(now)
        await factors.purge(now)

    @job(every=timedelta(minutes=1))
    async def forget_successors(self) -> None:
        """Blank what retries of refreshes could have asked for."""
        await self._refreshing.forget_successors()

    async def _prepare(self, data: Register) -> tuple[Address, str]:
        address = normalise(data.email)
        return address, await self._accounts.passwords.choose(data.password, address.email)

    async def _start_session(self, user_id: UUID, version: int, client: Client) -> Issued:
        return await self._sessions.start(user_id, version, PASSWORD, self.clock.now(), client)

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
            too_many = await self._accounts.limits.failed(attempt, now)
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

    async def _tokens(self, account: Account, issued: Issued) -> Tokens:
        fresh = await self._issue(issued.grant)
        return Tokens(
            user=account,
            access_token=fresh.access_token,
            refresh_token=issued.refresh_token,
            expires_in=fresh.expires_in,
        )

    async def _issue(self, grant: Grant) -> FreshAccess:
        ttl, now = self.settings.access_ttl, self.clock.now()
        key = await self._security.signing.signer()
        token = access_token(grant, key, issuer=self.platform.issuer, now=now, ttl=ttl)
        return FreshAccess(token, expires_in=int(ttl.total_seconds()))
