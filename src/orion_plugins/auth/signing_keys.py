"""The keys that sign access tokens, in a table that all replicas read.

A new key is published before it signs, for as long as anybody may keep an older list of keys. An old one is published
until the last token that it signed has expired. Its secret is destroyed then.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from orion_core.context import current
from orion_core.contracts.auth import PublicKey
from orion_core.contracts.auth_keys import RotatedMeanwhile, SigningKeyState
from orion_core.errors import StartRefused
from orion_core.keyring import Key, Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.sealing import Where, open_, seal
from orion_plugins.auth.audit import record
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tokens import public_key

READ, WRITE = "keys:read", "keys:write"
PUBLISHED = timedelta(seconds=300)
"""How long verifiers keep the keys they know: the max-age of the key set."""
KEPT = timedelta(seconds=60)
"""How long a replica keeps the rows it read."""
LEEWAY = timedelta(seconds=30)
"""How long after its end a token may still be accepted."""
_TABLE = "auth_signing_keys"
_ALL = f"SELECT kid, sealed, public, created_at, signs_from, verifies_until FROM {_TABLE} ORDER BY signs_from, kid"
_INSERT = f"""
INSERT INTO {_TABLE} (kid, sealed, public, created_at, signs_from, verifies_until) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (kid) DO NOTHING
"""
# Whoever takes the newest key's row introduces the next one; others then find no row any more.
_SUCCEED = f"UPDATE {_TABLE} SET verifies_until = $1 WHERE verifies_until IS NULL RETURNING kid"
_RETIRE = f"UPDATE {_TABLE} SET sealed = '' WHERE verifies_until <= $1 AND sealed <> '' RETURNING kid"


@attrs.define
class SigningKeys:
    """The signing keys in `db`. `open` it before anything else."""

    db: Database
    keyring: Keyring
    clock: Clock
    settings: AuthSettings
    _rows: Sequence[dict[str, Any]] = attrs.field(init=False, repr=False, default=())
    _opened: dict[str, Key] = attrs.field(init=False, repr=False, factory=dict)
    _kept_until: datetime | None = attrs.field(init=False, default=None)

    async def open(self) -> None:
        """Import the keys of the keyring: at the very first start they count at once, later ones follow the newest.

        Raises `StartRefused` for a key of the keyring that has the id of another one.
        """
        now = self.clock.now()
        known = {row["kid"]: row["public"] for row in await self.db.fetch(_ALL)}
        for key in self.keyring.signing:
            if known.get(key.kid, public_key(key).x) != public_key(key).x:
                problem = f"the signing key {key.kid} of the keyring is not the one that auth knows by this id"
                raise StartRefused([f"{problem}: restore the old one, or give the new one another id"])
        first, *older = self.keyring.signing
        if not known:
            await self._insert(first, now, now, None)
            for key in older:
                await self._insert(key, now, now - PUBLISHED, now + self._overlap)
        elif first.kid not in known:
            try:
                await self._introduce(first)
            except RotatedMeanwhile:
                pass  # another replica was faster, with the same keyring
        self._kept_until = None

    async def signer(self) -> Key:
        """The key that signs now."""
        now = self.clock.now()
        row = next(row for row in reversed(await self._read(now)) if row["signs_from"] <= now and row["sealed"])
        return self._secret(row)

    async def published(self) -> tuple[PublicKey, ...]:
        """The public halves of the keys that signed, sign or will sign the tokens that count."""
        now = self.clock.now()
        return tuple(PublicKey(kid=row["kid"], x=row["public"]) for row in await self._read(now) if _counts(row, now))

    async def listed(self) -> tuple[SigningKeyState, ...]:
        """See `KeyOperations.signing_keys`."""
        current().actor.require(READ)
        now, rows = self.clock.now(), await self.db.fetch(_ALL)
        signs = next((row["kid"] for row in reversed(rows) if row["signs_from"] <= now and _counts(row, now)), "")
        return tuple(_state(row, now, signs) for row in reversed(rows))

    async def rotate(self) -> SigningKeyState:
        """See `KeyOperations.rotate_signing_key`."""
        current().actor.require(WRITE)
        return await self._introduce(_new())

    async def tend(self) -> None:
        """Introduce a new key when the newest has signed for long enough; destroy secrets that nobody needs."""
        now = self.clock.now()
        newest = next((row for row in await self.db.fetch(_ALL) if row["verifies_until"] is None), None)
        if newest is None or newest["signs_from"] + self.settings.key_rotation <= now:
            try:
                await self._introduce(_new())
            except RotatedMeanwhile:
                pass
        async with self.db.transaction():
            for row in await self.db.fetch(_RETIRE, now):
                await record("signing_key_retired", now, reason=row["kid"])

    @property
    def _overlap(self) -> timedelta:
        return self.settings.access_ttl + LEEWAY

    async def _introduce(self, key: Key) -> SigningKeyState:
        now = self.clock.now()
        # A replica may publish the list that it read a moment ago for a while, and verifiers keep that for theirs.
        signs_from = now + KEPT + PUBLISHED
        async with self.db.transaction():
            if not await self.db.fetch(_SUCCEED, signs_from + self._overlap):
                raise RotatedMeanwhile("another signing key was introduced meanwhile: list them first")
            await self._insert(key, now, signs_from, None)
            await record("signing_key_introduced", now, reason=key.kid)
        self._kept_until = None
        return SigningKeyState(key.kid, "next", now, signs_from, None)

    async def _insert(self, key: Key, now: datetime, signs_from: datetime, until: datetime | None) -> None:
        sealed = seal(self.keyring, _where(key.kid), key.secret)
        await self.db.fetch(_INSERT, key.kid, sealed, public_key(key).x, now, signs_from, until)

    async def _read(self, now: datetime) -> Sequence[dict[str, Any]]:
        if self._kept_until is None or now >= self._kept_until:
            self._rows = await self.db.fetch(_ALL)
            self._opened = {}
            self._kept_until = now + KEPT
        return self._rows

    def _secret(self, row: dict[str, Any]) -> Key:
        kid = row["kid"]
        if kid not in self._opened:
            self._opened[kid] = Key(kid, open_(self.keyring, _where(kid), row["sealed"]))
        return self._opened[kid]


def _new() -> Key:
    return Key(secrets.token_hex(4), secrets.token_bytes(32))


def _where(kid: str) -> Where:
    return Where(_TABLE, kid, "sealed")


def _counts(row: dict[str, Any], now: datetime) -> bool:
    return row["verifies_until"] is None or row["verifies_until"] > now


def _state(row: dict[str, Any], now: datetime, signs: str) -> SigningKeyState:
    if not _counts(row, now):
        state = "retired"
    elif row["kid"] == signs:
        state = "signing"
    else:
        state = "next" if row["signs_from"] > now else "verifying"
    return SigningKeyState(row["kid"], state, row["created_at"], row["signs_from"], row["verifies_until"])
