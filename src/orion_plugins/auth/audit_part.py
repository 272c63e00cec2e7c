"""The audit log as the service offers it: who may read it, and that they did."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import attrs

from orion_core.context import current
from orion_core.contracts.auth_audit import AuditAnchor, AuditPage, AuditQuery, AuditReport
from orion_core.contracts.platform import AuditRecorded
from orion_core.ports.clock import Clock
from orion_plugins.auth import audit_verification
from orion_plugins.auth.audit import AuditTrail, By, Entry, asking, record, record_reading
from orion_plugins.auth.audit_reading import AuditReader, people

log = logging.getLogger("orion.auth")

READ = "audit:read"
_SHOWN = ("ip_address", "user_agent", "request_id", "note")


@attrs.frozen
class AuditPart:
    """Keeps `AuditOperations`."""

    trail: AuditTrail
    clock: Clock
    _reader: AuditReader = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: AuditReader(self.trail.db, self.trail.keys), takes_self=True),
    )

    async def log(self, query: AuditQuery) -> AuditPage:
        """See `AuditOperations.audit_log`."""
        current().actor.require(READ)
        page = await self._reader.page(query)
        # Before the answer leaves: what cannot be recorded is not shown. The reading as such is recorded in any case.
        others = people(page) - {asking()}
        await record_reading(
            "audit_log_read", self.clock.now(), subjects=sorted(others), fields=_SHOWN, purpose="audit_log"
        )
        return page

    async def own(self, cursor: str, limit: int) -> AuditPage:
        """See `AuditOperations.my_audit_log`."""
        actor = current().actor
        # It would show an administrator where the person was.
        actor.refuse_impersonated()
        return await self._reader.own(actor.user_id, cursor, limit)

    async def take_over(self, event: AuditRecorded) -> None:
        """Append what another service told."""
        by = By(
            actor=event.actor,
            impersonator=event.impersonator,
            ip_address=event.ip_address[:64],
            user_agent=event.user_agent.replace("\x00", "")[:512],
            request_id=event.request_id[:64],
        )
        entry = Entry(
            action=event.action,
            outcome="failure" if event.outcome == "failure" else "success",
            user_id=event.user_id,
            session_id=event.session_id,
            reason=event.reason,
        )
        await self.trail.add([entry], event.recorded_at, by)

    async def anchor(self) -> AuditAnchor:
        """See `AuditOperations.audit_anchor`."""
        current().actor.require(READ)
        head = await audit_verification.head(self.trail.db)
        return AuditAnchor(head.seq, head.hash, self.clock.now())

    async def verify(self, anchors: Sequence[AuditAnchor]) -> AuditReport:
        """See `AuditOperations.verify_audit`."""
        current().actor.require(READ)
        report = await audit_verification.verify(self.trail.db, anchors)
        if report.faults:
            log.error("the audit log has %d fault(s); the first: %s", len(report.faults), report.faults[0].detail)
            try:
                await record("audit_log_verified", self.clock.now(), outcome="failure", reason=report.faults[0].kind)
            except Exception:
                # A log that was tampered with may take no entry any more; the report is wanted all the same.
                log.exception("that the audit log has faults could not be recorded in it")
        return report
