"""What any service tells for the security audit log, which auth keeps.

::

    await self.events.publish(recorded("endpoint_removed", self.clock.now()))       # in the transaction that removes it
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from orion_core.context import current
from orion_core.contracts.platform import AuditRecorded


def recorded(
    action: str, now: datetime, *, outcome: str = "success", reason: str = "", user_id: UUID | None = None
) -> AuditRecorded:
    """The event for what happened now, with who did it and from where as the context tells.

    `action` and `reason` are words of the program, never what people typed; `user_id` is whom it is about.
    """
    context = current()
    actor = context.actor
    return AuditRecorded(
        action=action,
        outcome=outcome,
        reason=reason,
        actor=actor.name,
        impersonator=f"user:{actor.impersonator}" if actor.impersonator else "",
        user_id=user_id,
        session_id=UUID(actor.session) if actor.session else None,
        ip_address=context.client_ip,
        user_agent=context.user_agent,
        request_id=context.correlation_id,
        recorded_at=now,
    )
