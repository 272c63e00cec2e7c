"""Erasing the account of a person: what is left is an id that nobody can sign in with; all in one transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from orion_plugins.auth.audit import AuditTrail, record
from orion_plugins.auth.factors import forget
from orion_plugins.auth.tables import (
    ERASED,
    AuthApiKey,
    AuthGrant,
    AuthRoleHolder,
    Flow,
    RefreshToken,
    Session,
    User,
)


async def erase_account(user_id: UUID, now: datetime) -> list[UUID] | None:
    """Close and anonymise the account; the sessions that were open, or None if there is no such account any more.

    Its address is free again. The audit log keeps what happened and when; the key to where the person's requests came
    from, and to what was written about them, is destroyed.
    """
    closed = await (
        User.update(
            {
                User.email: "",
                # Unique, and no key of an address, which has an @ in it.
                User.email_key: f"erased:{user_id}",
                User.password_hash: "",
                User.status: ERASED,
                User.version: User.version + 1,
                User.updated_at: now,
            }
        )
        .where((User.id == user_id) & (User.status != ERASED))
        .returning(User.id)
    )
    if not closed:
        return None
    await AuthRoleHolder.delete().where(AuthRoleHolder.user_id == user_id)
    await AuthGrant.delete().where(AuthGrant.user_id == user_id)
    await AuthApiKey.delete().where(AuthApiKey.user_id == user_id)
    await forget(user_id)
    sessions = await Session.select(Session.id, Session.revoked_at).where(Session.user_id == user_id)
    if sessions:
        await Session.update({Session.ip_address: "", Session.user_agent: "", Session.token_hash: ""}).where(
            Session.user_id == user_id
        )
        await Session.update({Session.revoked_at: now, Session.revoked_reason: "erased"}).where(
            (Session.user_id == user_id) & Session.revoked_at.is_null()
        )
        # After the sessions: a refresh takes their row first, so none can add another token any more.
        await RefreshToken.delete().where(RefreshToken.session_id.is_in([each["id"] for each in sessions]))
    await Flow.delete().where(Flow.user_id == user_id)
    await AuditTrail.live().keys.destroy(user_id, now)
    await record("account_erased", now, user_id=user_id)
    return [each["id"] for each in sessions if each["revoked_at"] is None]
