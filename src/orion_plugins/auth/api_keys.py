"""API keys: how machines ask in the name of the person who made them."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import Actor, current
from orion_core.contracts.auth_api_keys import (
    ApiKey,
    ApiKeyCreated,
    ApiKeyList,
    ApiKeyRevoked,
    IssuedApiKey,
    KeyAccess,
    NewApiKey,
    NoSuchApiKey,
    ScopeNotHeld,
    TooManyApiKeys,
)
from orion_core.errors import FieldError, Forbidden
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.permissions import OWN_READ, OWN_WRITE, covered, narrowed
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.auth.audit import record
from orion_plugins.auth.holdings import COLUMNS, JOINS, Holdings
from orion_plugins.auth.roles import Roles
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import ACTIVE, AuthApiKey
from orion_plugins.auth.tokens import fingerprint, new_api_key

METHOD = "api_key"
KEPT = timedelta(days=30)
"""How long a key that counts no more can still be looked up in the table."""
_HINT = 9
_HASH = re.compile(r"[0-9a-f]{64}")
_FIND = f"""
SELECT k.id AS key_id, k.user_id, k.token_hash, k.scopes, k.expires_at, k.last_used_at, {COLUMNS}
FROM auth_api_keys k JOIN users u ON u.id = k.user_id {JOINS}
WHERE k.token_hash = $1 AND k.revoked_at IS NULL
"""
_USED = """
UPDATE auth_api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)
"""


@attrs.frozen
class ApiKeys:
    """The operations on API keys."""

    db: Database
    events: Events
    clock: Clock
    settings: AuthSettings
    roles: Roles

    async def create(self, data: NewApiKey) -> IssuedApiKey:
        """See `Auth.create_api_key`."""
        actor = _signed_in()
        actor.refuse_impersonated()
        now = self.clock.now()
        lifetime = timedelta(days=data.expires_in_days)
        if lifetime > self.settings.api_key_lifetime:
            most = f"must be at most {self.settings.api_key_lifetime.days} days"
            raise invalid("expires_in_days", "out_of_range", most)
        _check_scopes(data.scopes, actor)
        secret = new_api_key()
        row = AuthApiKey(
            id=new_id(),
            user_id=actor.user_id,
            name=data.name,
            token_hash=fingerprint(secret),
            hint=secret[:_HINT],
            scopes=json.dumps(sorted(set(data.scopes))),
            created_at=now,
            expires_at=now + lifetime,
            last_used_at=None,
            revoked_at=None,
        )
        async with self.db.transaction():
            # Nobody gets past the limit by asking twice at once.
            await self.roles.take_account(actor.user_id)
            mine = (AuthApiKey.user_id == actor.user_id) & AuthApiKey.revoked_at.is_null()
            if await AuthApiKey.count().where(mine) >= self.settings.api_keys_each:
                raise TooManyApiKeys(f"nobody has more than {self.settings.api_keys_each} API keys: revoke one first")
            await AuthApiKey.insert(row)
            await record("api_key_created", now, user_id=actor.user_id, method=METHOD, reason=str(row.id))
            await self.events.publish(ApiKeyCreated(row.id, actor.user_id, data.name, row.expires_at))
        return IssuedApiKey(_key(row.to_dict()), secret)

    async def mine(self) -> ApiKeyList:
        """See `Auth.api_keys`."""
        actor = _signed_in()
        rows = (
            await AuthApiKey.select()
            .where((AuthApiKey.user_id == actor.user_id) & AuthApiKey.revoked_at.is_null())
            .order_by(AuthApiKey.id)
        )
        return ApiKeyList(tuple(map(_key, rows)))

    async def revoke(self, key_id: UUID) -> None:
        """See `Auth.revoke_api_key`."""
        actor = _signed_in()
        actor.refuse_impersonated()
        now = self.clock.now()
        async with self.db.transaction():
            revoked = (
                await AuthApiKey.update({AuthApiKey.revoked_at: now})
                .where(
                    (AuthApiKey.id == key_id) & (AuthApiKey.user_id == actor.user_id) & AuthApiKey.revoked_at.is_null()
                )
                .returning(AuthApiKey.id)
            )
            if not revoked:
                raise NoSuchApiKey("there is no API key with this id")
            await record("api_key_revoked", now, user_id=actor.user_id, method=METHOD, reason=str(key_id))
            await self.events.publish(ApiKeyRevoked(key_id, actor.user_id))

    async def access(self, token_hash: str) -> KeyAccess:
        """See `Auth.key_access`."""
        if not current().actor.trusted:
            raise Forbidden("only services may ask what an API key may do")
        now = self.clock.now()
        rows = await self.db.fetch(_FIND, token_hash) if _HASH.fullmatch(token_hash) else []
        row = rows[0] if rows else None
        if (
            row is None
            or not hmac.compare_digest(row["token_hash"], token_hash)
            or row["expires_at"] <= now
            or row["status"] != ACTIVE
        ):
            return KeyAccess(active=False)
        await self._note_use(row, now)
        held, scopes = Holdings.of(rows), tuple(json.loads(row["scopes"]))
        return KeyAccess(
            active=True,
            key_id=row["key_id"],
            user_id=row["user_id"],
            expires_at=row["expires_at"],
            roles=held.roles,
            permissions=narrowed(held.permissions, scopes),
            scopes=scopes,
            granted=held.granted,
        )

    async def purge(self) -> None:
        """Delete keys that have counted no more for a while."""
        before = self.clock.now() - KEPT
        await AuthApiKey.delete().where((AuthApiKey.expires_at < before) | (AuthApiKey.revoked_at < before))

    async def _note_use(self, row: Mapping[str, Any], now: datetime) -> None:
        # By the hour: a request shall not cost a write, nor the table be a diary.
        hour = now.replace(minute=0, second=0, microsecond=0)
        if row["last_used_at"] is None or row["last_used_at"] < hour:
            await self.db.fetch(_USED, row["key_id"], hour)


def _signed_in() -> Actor:
    actor = current().actor
    if actor.by_key:
        raise Forbidden("an API key cannot look after API keys: sign in")
    # Raises for whoever is no person.
    _ = actor.user_id
    return actor


def _check_scopes(scopes: tuple[str, ...], actor: Actor) -> None:
    lacking = [
        FieldError(f"scopes.{index}", "not_held", f"must be a permission of yours, {OWN_READ} or {OWN_WRITE}")
        for index, scope in enumerate(scopes)
        if scope not in (OWN_READ, OWN_WRITE) and not covered(actor.permissions, scope)
    ]
    if lacking:
        raise ScopeNotHeld("scopes: an API key can do no more than its owner", errors=lacking)


def _key(row: Mapping[str, Any]) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        hint=row["hint"],
        scopes=tuple(json.loads(row["scopes"])),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )
