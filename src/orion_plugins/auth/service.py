"""The service of auth: opens accounts and sessions, and says what a session may do."""

from __future__ import annotations

import asyncio
import json
import unicodedata
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
    SessionRevoked,
    SessionStarted,
    Tokens,
    UserRegistered,
)
from orion_core.contracts.users import UserErased
from orion_core.errors import Conflict, Forbidden, Unauthenticated
from orion_core.events import Events, on
from orion_core.ids import new_id
from orion_core.jobs import job
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.settings import Settings
from orion_plugins.auth import sessions
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address, normalise, normalised_or_none
from orion_plugins.auth.erasing import erase_account
from orion_plugins.auth.hashing import HashingPool
from orion_plugins.auth.passwords import check_new_password, decoy, hash_password, needs_rehash, verify_password
from orion_plugins.auth.roles import ADMIN, permissions_of
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import ACTIVE, ERASED, User
from orion_plugins.auth.tokens import access_token, is_refresh_token, public_key

PASSWORD = ("pwd",)
# Asked with every request where auth is served, so written out: building it anew costs many times its execution.
_ACCESS = """
SELECT s.idle_expires_at, u.version, u.status, u.roles FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = $1 AND s.revoked_at IS NULL
"""


@attrs.frozen
class AuthService(Auth):
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._hashing.close)

    async def register(self, data: Register) -> Account:
        """See `Auth.register`."""
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            return await self._open_account(address, password_hash, data.name)

    async def sign_up(self, data: Register) -> Tokens:
        """See `Auth.sign_up`."""
        address, password_hash = await self._prepare(data)
        async with self.db.transaction():
            account = await self._open_account(address, password_hash, data.name)
            issued = await self._start_session(account.id, version=1)
        return self._tokens(account, issued)

    async def login(self, data: Login) -> Tokens:
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
            issued = await self._start_session(user["id"], user["version"]) if claimed else None
        if issued is None:
            raise await self._refused(user, matches)
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
        if await self._find(address) is None:
            _, password_hash = await self._prepare(data)
            try:
                async with self.db.transaction():
                    return await self._open_account(address, password_hash, data.name, (ADMIN,))
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

    @job(every=timedelta(hours=1))
    async def purge(self) -> None:
        """Delete sessions that are over."""
        await sessions.purge(self.db, self.clock.now())

    async def _prepare(self, data: Register) -> tuple[Address, str]:
        address = normalise(data.email)
        check_new_password(data.password)
        return address, await self._hashing.run(hash_password, data.password, self.keyring.pepper[0])

    async def _open_account(
        self, address: Address, password_hash: str, name: str, roles: tuple[str, ...] = ()
    ) -> Account:
        now = self.clock.now()
        user_id = new_id()
        added = (
            await User.insert(
                User(
                    id=user_id,
                    email=address.email,
                    email_key=address.key,
                    password_hash=password_hash,
                    roles=json.dumps(roles),
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

    async def _grant(self, address: Address, role: str) -> Account:
        user = await self._find(address)
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

    async def _find(self, address: Address) -> dict[str, Any] | None:
        columns = (User.id, User.email, User.password_hash, User.roles, User.status, User.version)
        found: dict[str, Any] | None = await User.select(*columns).where(User.email_key == address.key).first()
        return found

    def _tokens(self, account: Account, issued: sessions.Issued) -> Tokens:
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


class _Lost(Exception):
    """The refresh token was spent before, or somebody else was faster."""


def _invalid_grant() -> InvalidGrant:
    return InvalidGrant("the refresh token does not count: sign in again")


def _roles(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(json.loads(row["roles"]))


def _name(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())
