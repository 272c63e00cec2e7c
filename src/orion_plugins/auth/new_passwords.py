"""Passwords that are chosen and passwords that confirm: both compared and hashed off the event loop."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orion_core.contracts.auth_accounts import WrongPassword
from orion_core.errors import FieldError
from orion_core.keyring import Keyring
from orion_core.ports.database import Database
from orion_plugins.auth.attempts import Attempt, SignInLimits
from orion_plugins.auth.audit import record
from orion_plugins.auth.hashing import HashingPool
from orion_plugins.auth.password_policy import PasswordPolicy
from orion_plugins.auth.passwords import decoy, hash_password, verify_password


class Passwords:
    """Chooses and checks passwords by the rules and limits of one deployment."""

    def __init__(
        self, db: Database, hashing: HashingPool, keyring: Keyring, policy: PasswordPolicy, limits: SignInLimits
    ) -> None:
        self._db = db
        self._hashing = hashing
        self._keyring = keyring
        self._policy = policy
        self._limits = limits

    async def choose(self, password: str, email: str, *, field: str = "password") -> str:
        """The stored form of a new password; raises what `PasswordPolicy.check` does, and `HashingBusy`."""
        # Beside the hashes, since it may read the disk. Two turns, so that what is refused costs no hashing.
        await self._hashing.run(lambda: self._policy.check(password, email, field=field))
        return await self._hashing.run(hash_password, password, self._keyring.pepper[0])

    async def confirm(self, user: dict[str, Any], password: str, now: datetime, *, field: str) -> Attempt:
        """Compare the password of somebody who is signed in; raises `WrongPassword`, naming `field`.

        A wrong one counts like a failed sign-in. The attempt goes to `confirmed`, in the transaction of the change.
        """
        attempt = self._limits.attempt(user["email_key"])
        allowed = await self._limits.admit(attempt, now)
        peppers = self._keyring.pepper
        stored = user["password_hash"] or decoy(peppers[0])
        matches = await self._hashing.run(verify_password, password, stored, peppers)
        if not matches or not allowed:
            async with self._db.transaction():
                refused = await self._limits.failed(attempt, now)
                reason = "too_early" if matches else "wrong_password"
                await record("password_confirmed", now, outcome="failure", user_id=user["id"], reason=reason)
            raise refused or _wrong(field)
        return attempt

    async def confirmed(self, attempt: Attempt, now: datetime, *, field: str) -> None:
        """Let the comparison count, in the running transaction; raises `WrongPassword` if it came too early."""
        if not await self._limits.succeeded(attempt, now):
            raise _wrong(field)

    async def forgive(self, user: dict[str, Any]) -> None:
        """Forget the failures of the account, in the running transaction: its owner has proved themselves by mail."""
        await self._limits.forgive(self._limits.attempt(user["email_key"]))


def _wrong(field: str) -> WrongPassword:
    detail = "is wrong: try again in a while, or use the link for a forgotten password"
    return WrongPassword(f"{field}: {detail}", errors=[FieldError(field, "wrong", detail)])
