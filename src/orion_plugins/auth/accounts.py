"""Accounts as rows: found, opened, and changed so that nothing issued before counts any more."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any
from uuid import UUID

from orion_core.context import current
from orion_core.contracts.auth import AccessChanged, Account, EmailTaken, UserRegistered
from orion_core.errors import Unauthenticated
from orion_core.events import Events
from orion_core.ids import new_id
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address
from orion_plugins.auth.flow_kinds import IN_PROGRESS
from orion_plugins.auth.flows import Flows
from orion_plugins.auth.sessions import Sessions
from orion_plugins.auth.tables import ACTIVE, User


class Accounts:
    """The rows of accounts; everything that writes does so in the transaction of the caller."""

    def __init__(self, events: Events, flows: Flows, sessions: Sessions) -> None:
        self._events = events
        self._sessions = sessions
        self._flows = flows

    async def find(self, address: Address) -> dict[str, Any] | None:
        """The account with this address, whatever its state."""
        return await self._row(User.email_key == address.key)

    async def own(self) -> dict[str, Any]:
        """The caller's account; raises `Unauthenticated` when that is no person, or the account is closed."""
        user = await self._row(User.id == current().actor.user_id)
        if user is None or user["status"] != ACTIVE:
            raise Unauthenticated("the account is closed")
        return user

    async def open(
        self,
        address: Address,
        password_hash: str,
        name: str,
        now: datetime,
        *,
        method: str = "pwd",
        user_id: UUID | None = None,
        verified: bool = False,
    ) -> Account:
        """Open an account; raises `EmailTaken`."""
        user_id = user_id or new_id()
        added = (
            await User.insert(
                User(
                    id=user_id,
                    email=address.email,
                    email_key=address.key,
                    password_hash=password_hash,
                    email_verified_at=now if verified else None,
                    created_at=now,
                    updated_at=now,
                )
            )
            .on_conflict(target=User.email_key, action="DO NOTHING")
            .returning(User.id)
        )
        if not added:
            raise EmailTaken("there is an account with this address: sign in, or use another one")
        await record("registered", now, user_id=user_id, method=method)
        await self._events.publish(UserRegistered(user_id, address.email, _name(name), now))
        return Account(user_id, address.email)

    async def change(self, user_id: UUID, version: int, now: datetime, columns: dict[Any, Any]) -> int | None:
        """Write `columns` if the account still is open and at `version`; the version it has then, else None.

        It takes the account's row first, as every change of an account does, so that they come one after the other.
        """
        changed = await (
            User.update({**columns, User.version: User.version + 1, User.updated_at: now})
            .where((User.id == user_id) & (User.version == version) & (User.status == ACTIVE))
            .returning(User.version)
        )
        return changed[0]["version"] if changed else None

    async def lock(self, user_id: UUID) -> dict[str, Any] | None:
        """The account, its row taken until the end of the transaction; None when it is not open."""
        there = await (
            User.update({User.version: User.version})
            .where((User.id == user_id) & (User.status == ACTIVE))
            .returning(User.id)
        )
        return await self._row(User.id == user_id) if there else None

    async def end_others(self, user_id: UUID, reason: str, now: datetime, *, keep: UUID | None = None) -> None:
        """After `change`: end the sessions but `keep` and the mailed steps in progress, and tell who remembers them."""
        await self._sessions.revoke_all(user_id, reason, now, keep)
        await self._flows.end(user_id, *IN_PROGRESS)
        await self._events.publish(AccessChanged(user_id))

    async def _row(self, wanted: Any) -> dict[str, Any] | None:
        columns = (
            User.id,
            User.email,
            User.email_key,
            User.password_hash,
            User.status,
            User.version,
            User.email_verified_at,
        )
        found: dict[str, Any] | None = await User.select(*columns).where(wanted).first()
        return found


def address_of(user: dict[str, Any]) -> Address:
    """The address of an account."""
    return Address(user["email"], user["email_key"])


def _name(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())
