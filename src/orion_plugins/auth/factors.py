"""Second factors: enrolled, asked for when somebody signs in, and removed.

`SignInFactors.finish` is where every way of signing in ends: with a session, or with a challenge.
"""

from __future__ import annotations

import functools
import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import current
from orion_core.contracts.auth_factors import (
    FactorCode,
    FactorRequired,
    Factors,
    InvalidMfaToken,
    MfaChallenge,
    NoSuchFactor,
    RecoveryCodes,
    SignInTooOld,
    TooManyFactorTries,
    TotpEnrolment,
    VerifyFactor,
    WrongFactorCode,
)
from orion_core.contracts.auth_sessions import Client
from orion_core.errors import Conflict, FieldError, Forbidden
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.sealing import Where, open_, seal
from orion_plugins.auth import recovery_codes, totp
from orion_plugins.auth.accounts import Accounts, address_of
from orion_plugins.auth.audit import record
from orion_plugins.auth.flow_kinds import FACTORS_CHANGED
from orion_plugins.auth.flows import Flows
from orion_plugins.auth.holdings import ADMIN, check_held, check_manager, holder
from orion_plugins.auth.sessions import Issued, Sessions
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import FactorChallenge, Session, TotpFactor
from orion_plugins.auth.throttle_rules import tries
from orion_plugins.auth.throttles import Throttles
from orion_plugins.auth.tokens import fingerprint

MFA = "mfa"
"""The `amr` of a session that a second factor opened (RFC 8176)."""
FRESH = timedelta(minutes=10)
"""Factors are changed so long after a sign-in, and no later."""
CHALLENGE_LIVES = timedelta(minutes=5)
TRIES = 5
_TABLE = "auth_totp_factors"
# One statement, so that of two who bring the same code one comes second and finds its step used.
_USE_STEP = f"UPDATE {_TABLE} SET last_step = $2 WHERE id = $1 AND last_step < $2 RETURNING id"


@attrs.frozen(kw_only=True, eq=False)
class SignInFactors:
    """Asks for the second factor of who has one."""

    db: Database
    clock: Clock
    keyring: Keyring
    accounts: Accounts
    sessions: Sessions
    throttles: Throttles

    async def finish(
        self, user_id: UUID, version: int, amr: tuple[str, ...], client: Client, now: datetime
    ) -> Issued | MfaChallenge:
        """What follows the first factor `amr`, in a transaction that has taken the account's row.

        A session for who has no second factor, else a challenge that leads to one.
        """
        if await self.confirmed(user_id) is None:
            return await self.sessions.start(user_id, version, amr, now, client)
        token = f"omf_{secrets.token_urlsafe(32)}"
        await FactorChallenge.insert(
            FactorChallenge(
                id=new_id(),
                user_id=user_id,
                token_hash=fingerprint(token),
                version=version,
                method=amr[0],
                client=client,
                created_at=now,
                expires_at=now + CHALLENGE_LIVES,
            )
        )
        await record("second_factor_asked", now, user_id=user_id, method=amr[0])
        methods = ("totp", "recovery") if await recovery_codes.left(user_id) else ("totp",)
        return MfaChallenge(token, methods, int(CHALLENGE_LIVES.total_seconds()))

    async def verify(self, data: VerifyFactor, client: Client) -> tuple[dict[str, Any], Issued]:
        """See `Auth.verify_factor`: the account, and the session that was opened."""
        now = self.clock.now()
        wanted = fingerprint(data.mfa_token)
        challenge = await FactorChallenge.select().where(FactorChallenge.token_hash == wanted).first()
        if challenge is None or challenge["expires_at"] <= now or challenge["client"] != client:
            raise _no_token()
        user_id = challenge["user_id"]
        await self.count(user_id, now)
        async with self.db.transaction():
            user = await self.accounts.lock(user_id)
            # Whatever changed the account since the password was right has ended this sign-in.
            if user is None or user["version"] != challenge["version"]:
                raise _no_token()
            method = await self._spend(user_id, data.code, now)
            if method:
                mine = FactorChallenge.delete().where(FactorChallenge.id == challenge["id"])
                if not await mine.returning(FactorChallenge.id):
                    raise _no_token()
                await record("second_factor_verified", now, user_id=user_id, method=method)
                amr = (challenge["method"], "otp", MFA)
                return user, await self.sessions.start(user_id, user["version"], amr, now, client)
        await record("second_factor_verified", now, outcome="failure", user_id=user_id, reason="wrong_code")
        raise wrong_code()

    async def count(self, user_id: UUID, now: datetime) -> None:
        """Count one try in a transaction of its own; raises `TooManyFactorTries`. A right code forgets none."""
        key = self.throttles.key("factor|account", str(user_id))
        async with self.db.transaction():
            wait = await self.throttles.count(key, functools.partial(tries, TRIES), now)
            if wait:
                await record("second_factor_verified", now, outcome="failure", user_id=user_id, reason="too_many")
        if wait:
            raise TooManyFactorTries("too many codes were tried: wait, then try again", retry_after=wait / 1000)

    async def confirmed(self, user_id: UUID) -> dict[str, Any] | None:
        """The row of the app that codes are asked of; None if there is none."""
        mine = (TotpFactor.user_id == user_id) & TotpFactor.confirmed_at.is_not_null()
        found: dict[str, Any] | None = await TotpFactor.select().where(mine).first()
        return found

    def step(self, factor: dict[str, Any], code: str, now: datetime) -> int | None:
        """The time step of a code of the app `factor`; None for one that is none."""
        seed = open_(self.keyring, where(factor["id"]), factor["seed"])
        return totp.matching_step(seed, code, now)

    async def _spend(self, user_id: UUID, code: str, now: datetime) -> str:
        if not totp.is_code(code):
            return "recovery" if await recovery_codes.spend(user_id, code, now) else ""
        factor = await self.confirmed(user_id)
        step = None if factor is None else self.step(factor, code, now)
        if factor is None or step is None:
            return ""
        return "otp" if await self.db.fetch(_USE_STEP, factor["id"], step) else ""


@attrs.frozen(kw_only=True, eq=False)
class FactorPart:
    """Keeps `FactorOperations`."""

    db: Database
    clock: Clock
    keyring: Keyring
    settings: AuthSettings
    accounts: Accounts
    flows: Flows
    signing_in: SignInFactors

    async def mine(self) -> Factors:
        """See `FactorOperations.factors`."""
        user_id = current().actor.user_id
        there = await self.signing_in.confirmed(user_id) is not None
        return Factors(there, await recovery_codes.left(user_id))

    async def enrol(self) -> TotpEnrolment:
        """See `FactorOperations.enrol_totp`."""
        now = self.clock.now()
        user, _ = await self._admitted(now)
        seed, factor_id = totp.new_seed(), new_id()
        async with self.db.transaction():
            await self._lock(user)
            await TotpFactor.delete().where((TotpFactor.user_id == user["id"]) & TotpFactor.confirmed_at.is_null())
            sealed = seal(self.keyring, where(factor_id), seed)
            await TotpFactor.insert(
                TotpFactor(id=factor_id, user_id=user["id"], seed=sealed, created_at=now, confirmed_at=None)
            )
            await record("factor_enrolment_started", now, user_id=user["id"], method="otp")
        address = totp.uri(seed, product=self.settings.product, account=user["email"])
        return TotpEnrolment(totp.shown(seed), address)

    async def confirm(self, data: FactorCode) -> RecoveryCodes:
        """See `FactorOperations.confirm_totp`."""
        now = self.clock.now()
        user, session_id = await self._admitted(now)
        waiting = (TotpFactor.user_id == user["id"]) & TotpFactor.confirmed_at.is_null()
        factor = await TotpFactor.select().where(waiting).first()
        if factor is None:
            raise NoSuchFactor("no app waits for its first code: enrol one first")
        await self.signing_in.count(user["id"], now)
        step = self.signing_in.step(factor, data.code, now)
        if step is None:
            await record("factor_added", now, outcome="failure", user_id=user["id"], reason="wrong_code", method="otp")
            raise wrong_code()
        async with self.db.transaction():
            await self._lock(user)
            counting = (TotpFactor.user_id == user["id"]) & TotpFactor.confirmed_at.is_not_null()
            await TotpFactor.delete().where(counting)
            claimed = await (
                TotpFactor.update({TotpFactor.confirmed_at: now, TotpFactor.last_step: step})
                .where((TotpFactor.id == factor["id"]) & TotpFactor.confirmed_at.is_null())
                .returning(TotpFactor.id)
            )
            if not claimed:
                raise NoSuchFactor("no app waits for its first code: enrol one first")
            codes = await recovery_codes.replace(user["id"], now)
            await self._changed(user, "factor_added", now, keep=session_id)
        return RecoveryCodes(codes)

    async def remove(self) -> None:
        """See `FactorOperations.remove_totp`."""
        now = self.clock.now()
        user, session_id = await self._admitted(now)
        if self.settings.admin_factor and ADMIN in (await holder(self.db, user["id"])).holdings.roles:
            raise FactorRequired("administrators keep a second factor here: enrol another app, which replaces this one")
        async with self.db.transaction():
            await self._lock(user)
            if await self.signing_in.confirmed(user["id"]) is None:
                raise NoSuchFactor("no codes of an app are asked for")
            await forget(user["id"])
            await self._changed(user, "factor_removed", now, keep=session_id)

    async def renew_codes(self) -> RecoveryCodes:
        """See `FactorOperations.renew_recovery_codes`."""
        now = self.clock.now()
        user, session_id = await self._admitted(now)
        async with self.db.transaction():
            await self._lock(user)
            if await self.signing_in.confirmed(user["id"]) is None:
                raise NoSuchFactor("there are recovery codes only beside an app: enrol one first")
            codes = await recovery_codes.replace(user["id"], now)
            await self._changed(user, "recovery_codes_renewed", now, keep=session_id)
        return RecoveryCodes(codes)

    async def reset(self, user_id: UUID) -> None:
        """See `FactorOperations.reset_factors`."""
        check_manager("accounts:manage")
        current().actor.refuse_impersonated()
        now, found = self.clock.now(), await holder(self.db, user_id)
        await check_held(found.holdings.permissions, now, user_id)
        async with self.db.transaction():
            user = await self.accounts.lock(user_id)
            if user is None:
                raise Conflict("the account is closed: enable it first")
            await forget(user_id)
            await self._changed(user, "factors_reset", now)

    async def _admitted(self, now: datetime) -> tuple[dict[str, Any], UUID]:
        """The caller's account and session; raises `SignInTooOld`."""
        actor = current().actor
        if actor.by_key:
            raise Forbidden("an API key cannot look after factors: sign in")
        actor.refuse_impersonated()
        user = await self.accounts.own()
        session_id = UUID(actor.session) if actor.session else UUID(int=0)
        mine = (Session.id == session_id) & (Session.user_id == user["id"]) & Session.revoked_at.is_null()
        session = await Session.select(Session.created_at).where(mine).first()
        if session is None or now - session["created_at"] > FRESH:
            raise SignInTooOld("you signed in more than ten minutes ago: sign in again, then ask again")
        return user, session_id

    async def _lock(self, user: dict[str, Any]) -> None:
        found = await self.accounts.lock(user["id"])
        if found is None or found["version"] != user["version"]:
            raise Conflict("the account changed meanwhile: sign in and try again")

    async def _changed(self, user: dict[str, Any], action: str, now: datetime, *, keep: UUID | None = None) -> None:
        await FactorChallenge.delete().where(FactorChallenge.user_id == user["id"])
        await self.accounts.end_others(user["id"], action, now, keep=keep)
        await record(action, now, user_id=user["id"], session_id=keep, method="otp")
        await self.flows.begin(FACTORS_CHANGED, address_of(user), now, user_id=user["id"])


async def forget(user_id: UUID) -> None:
    """Remove all factors of a person and what waits for them, in the running transaction."""
    await TotpFactor.delete().where(TotpFactor.user_id == user_id)
    await FactorChallenge.delete().where(FactorChallenge.user_id == user_id)
    await recovery_codes.forget(user_id)


async def purge(now: datetime) -> None:
    """Delete the challenges that are over."""
    await FactorChallenge.delete().where(FactorChallenge.expires_at <= now)


def where(factor_id: UUID) -> Where:
    """The place of a sealed seed."""
    return Where(_TABLE, str(factor_id), "seed")


def wrong_code() -> WrongFactorCode:
    """The one refusal of all codes that do not count."""
    detail = "does not count: wait for the next one, and look at the clock of your device"
    return WrongFactorCode(f"code: {detail}", errors=[FieldError("code", "invalid", detail)])


def _no_token() -> InvalidMfaToken:
    return InvalidMfaToken("the sign-in does not go on: begin it again")
