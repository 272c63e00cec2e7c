"""The service of auth: opens accounts and sessions, and says what a session may do."""

from __future__ import annotations

import asyncio
import unicodedata
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
    SessionRevoked,
    Tokens,
    UserRegistered,
)
from orion_core.contracts.auth_access import NoSuchAccount
from orion_core.contracts.auth_sessions import Client, SessionPage
from orion_core.contracts.users import UserErased
from orion_core.errors import Forbidden, Unauthenticated
from orion_core.events import Events, on
from orion_core.ids import new_id
from orion_core.jobs import job
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.settings import Settings
from orion_plugins.auth.access import AccessParts, AccessService
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address, normalise, normalised_or_none
from orion_plugins.auth.erasing import erase_account
from orion_plugins.auth.hashing import HashingPool
from orion_plugins.auth.holdings import ADMIN, COLUMNS, JOINS, Holdings, holder
from orion_plugins.auth.passwords import check_new_password, decoy, hash_password, needs_rehash, verify_password
from orion_plugins.auth.refreshing import Refreshing
from orion_plugins.auth.session_list import SessionList
from orion_plugins.auth.sessions import Issued, Sessions, purge
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import ACTIVE, ERASED, User
from orion_plugins.auth.tokens import access_token, fingerprint, is_refresh_token, public_key

PASSWORD = ("pwd",)
# Asked with every request where auth is served, so written out: building it anew costs many times its execution.
_ACCESS = f"""
SELECT s.idle_expires_at, u.version, {COLUMNS} FROM sessions s JOIN users u ON u.id = s.user_id {JOINS}
WHERE s.id = $1 AND s.revoked_at IS NULL
"""
_SESSION_OF = "SELECT session_id FROM refresh_tokens WHERE token_hash = $1"


@attrs.frozen
class AuthService(AccessService, Auth):
    """Keeps `Auth` on one database. Passwords are hashed before any transaction begins."""

    db: Database
    events: Events
    clock: Clock
    keyring: Keyring
    settings: AuthSettings
    platform: Settings
    _hashing: HashingPool = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: HashingPool(queue=self.settings.hashing_queue), takes_self=True),
    )
    _decoy: str = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: decoy(self.keyring.pepper[0]), takes_self=True)
    )
    _sessions: Sessions = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: Sessions(self.db, self.events, self.settings), takes_self=True),
    )
    _session_list: SessionList = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: SessionList(self.db, self.clock, self._sessions), takes_self=True),
    )
    _refreshing: Refreshing = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(
            lambda self: Refreshing(
                self.db, self.events, self.clock, self.keyring, self.settings, self._sessions, self._tokens
            ),
            takes_self=True,
        ),
    )

    _parts: AccessParts = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(
            lambda self: AccessParts.of(self.db, self.events, self.clock, self.settings, self._sessions.revoke_all),
            takes_self=True,
        ),
    )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._hashing.close)

    async def register(self, data: Register) -> Account:
        """See `Auth.register`."""
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            return await self._open_account(address, password_hash, data.name)

    async def sign_up(self, data: Register, client: Client = "token") -> Tokens:
        """See `Auth.sign_up`."""
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            account = await self._open_account(address, password_hash, data.name)
            issued = await self._start_session(account.id, 1, client)
        return await self._tokens(account, issued)

    async def login(self, data: Login, client: Client = "token") -> Tokens:
        """See `Auth.login`."""
        address = normalised_or_none(data.email)
        user = await self._find(address) if address else None
        # Whatever is wrong, one bcrypt of the same cost is computed and one row is written.
        stored = user["password_hash"] if user and user["password_hash"] else self._decoy
        peppers = self.keyring.pepper
        matches = await self._hashing.run(verify_password, data.password, stored, peppers)
        if user is None or not matches or user["status"] != ACTIVE:
            raise await self._refused(user, matches)
        if needs_rehash(stored, peppers[0]):
            stored = await self._hashing.run(hash_password, data.password, peppers[0])
        async with self.db.transaction():
            # An account whose password or status changed since it was read has another version.
            claimed = (
                await User.update({User.password_hash: stored})
                .where(User.id == user["id"], User.version == user["version"], User.status == ACTIVE)
                .returning(User.id)
            )
            issued = await self._start_session(user["id"], user["version"], client) if claimed else None
        if issued is None:
            raise await self._refused(user, matches)
        return await self._tokens(Account(user["id"], user["email"]), issued)

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
        return Me(user_id, found.row["email"], found.holdings.roles, found.holdings.permissions)

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
        held = Holdings.of(rows)
        return Access(True, held.roles, held.permissions, held.granted)

    async def create_admin(self, data: Register) -> Account:
        """See `Auth.create_admin`."""
        if current().actor.kind != "system":
            raise Forbidden("only the system itself may make administrators")
        address = normalise(data.email)
        if await self._find(address) is None:
            _, password_hash = await self._prepare(data)
            try:
                async with self.db.transaction():
                    account = await self._open_account(address, password_hash, data.name)
                    await self._parts.roles.give(account.id, ADMIN, self.clock.now())
                    return account
            except EmailTaken:
                pass  # somebody was faster: that account gets the role
        async with self.db.transaction():
            user = await self._find(address)
            if user is None or user["status"] != ACTIVE:
                raise Unauthenticated("the account is closed: enable it first")
            await self._parts.roles.take_account(user["id"])
            await self._parts.roles.give(user["id"], ADMIN, self.clock.now())
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

    @job(every=timedelta(hours=1))
    async def purge(self) -> None:
        """Delete sessions that are over, and API keys that count no more."""
        await purge(self.db, self.clock.now())
        await self._parts.api_keys.purge()

    @job(every=timedelta(minutes=1))
    async def forget_successors(self) -> None:
        """Blank what retries of refreshes could have asked for."""
        await self._refreshing.forget_successors()

    async def _prepare(self, data: Register) -> tuple[Address, str]:
        address = normalise(data.email)
        check_new_password(data.password)
        return address, await self._hashing.run(hash_password, data.password, self.keyring.pepper[0])

    async def _open_account(self, address: Address, password_hash: str, name: str) -> Account:
        now = self.clock.now()
        user_id = new_id()
        added = (
            await User.insert(
                User(
                    id=user_id,
                    email=address.email,
                    email_key=address.key,
                    password_hash=password_hash,
                    created_at=now,
                    updated_at=now,
                )
            )
            .on_conflict(target=User.email_key, action="DO NOTHING")
            .returning(User.id)
        )
        if not added:
            raise EmailTaken("there is an account with this address: sign in, or use another one")
        await record("registered", now, user_id=user_id, method=PASSWORD[0])
        await self.events.publish(UserRegistered(user_id, address.email, _name(name), now))
        return Account(user_id, address.email)

    async def _start_session(self, user_id: UUID, version: int, client: Client) -> Issued:
        return await self._sessions.start(user_id, version, PASSWORD, self.clock.now(), client)

    async def _refused(self, user: dict[str, Any] | None, matches: bool) -> InvalidCredentials:
        if user is None:
            reason = "unknown_account"
        elif not user["password_hash"]:
            reason = "no_password"
        elif not matches:
            reason = "wrong_password"
        else:
            reason = "account_closed"
        # The same statements whoever it is. They take the account's row: who was erased meanwhile is named no more.
        user_id = user["id"] if user else new_id()
        async with self.db.transaction():
            there = (
                await User.update({User.version: User.version})
                .where(User.id == user_id, User.status != ERASED)
                .returning(User.id)
            )
            await record(
                "signed_in",
                self.clock.now(),
                outcome="failure",
                user_id=user_id if there else None,
                reason=reason,
                method=PASSWORD[0],
            )
        return InvalidCredentials("the email address or the password is wrong")

    async def _find(self, address: Address) -> dict[str, Any] | None:
        columns = (User.id, User.email, User.password_hash, User.status, User.version)
        found: dict[str, Any] | None = await User.select(*columns).where(User.email_key == address.key).first()
        return found

    async def _tokens(self, account: Account, issued: Issued) -> Tokens:
        ttl = self.settings.access_ttl
        return Tokens(
            user=account,
            access_token=access_token(
                issued.grant,
                self.keyring.signing[0],
                issuer=self.platform.issuer,
                now=self.clock.now(),
                ttl=ttl,
            ),
            refresh_token=issued.refresh_token,
            expires_in=int(ttl.total_seconds()),
        )


def _name(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())
