"""The security audit log: one row for everything that happened to accounts and sessions, and never a secret in it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from orion_core.context import current
from orion_core.ids import new_id
from orion_plugins.auth.tables import AuditLog

Outcome = Literal["success", "failure"]


async def record(
    action: str,
    now: datetime,
    *,
    outcome: Outcome = "success",
    user_id: UUID | None = None,
    session_id: UUID | None = None,
    reason: str = "",
    method: str = "",
    other_ip_address: str = "",
) -> None:
    """Write what happened, by whom and from where; in the running transaction if there is one."""
    context = current()
    await AuditLog.insert(
        AuditLog(
            id=new_id(),
            user_id=user_id,
            action=action,
            ip_address=client_ip(),
            other_ip_address=other_ip_address,
            timestamp=now,
            outcome=outcome,
            reason=reason,
            actor=context.actor.name[:128],
            method=method,
            session_id=session_id,
            request_id=context.correlation_id[:64],
            user_agent=user_agent(),
        )
    )


def client_ip() -> str:
    """The address of the client of this request, empty when there is none."""
    return current().client_ip[:64]


def user_agent() -> str:
    """What the client calls itself, cut to what is kept; PostgreSQL stores no NUL."""
    return current().user_agent.replace("\x00", "")[:512]
