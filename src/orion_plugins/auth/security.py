"""What watches over auth itself, put together: the audit log, the signing keys, and acting as others."""

from __future__ import annotations

from datetime import timedelta
from typing import Self
from uuid import UUID

import attrs

from orion_core.contracts.auth_audit import AuditAnchor, AuditOperations, AuditPage, AuditQuery, AuditReport
from orion_core.contracts.auth_impersonation import Impersonate, Impersonation, ImpersonationOperations
from orion_core.contracts.auth_keys import KeyOperations, SigningKeyState
from orion_core.contracts.platform import AuditRecorded
from orion_core.events import Events, on
from orion_core.jobs import job
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.settings import Settings
from orion_plugins.auth.audit import AuditTrail
from orion_plugins.auth.audit_part import AuditPart
from orion_plugins.auth.impersonation import ImpersonationPart
from orion_plugins.auth.keyring_mark import check_keyring
from orion_plugins.auth.person_keys import PersonKeys
from orion_plugins.auth.sessions import Sessions
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.signing_keys import SigningKeys


@attrs.frozen
class Security:
    """The parts, on one database. `open` them before anything else."""

    trail: AuditTrail
    audit: AuditPart
    signing: SigningKeys
    impersonation: ImpersonationPart

    @classmethod
    def on(
        cls,
        db: Database,
        events: Events,
        *,
        keyring: Keyring,
        clock: Clock,
        settings: AuthSettings,
        platform: Settings,
        sessions: Sessions,
    ) -> Self:
        """The parts on `db`."""
        trail = AuditTrail(db, PersonKeys(db, keyring))
        signing = SigningKeys(db, keyring, clock, settings)
        impersonation = ImpersonationPart(
            db=db, events=events, clock=clock, settings=settings, platform=platform, signing=signing, sessions=sessions
        )
        return cls(trail, AuditPart(trail, clock), signing, impersonation)

    async def open(self) -> None:
        """Check the keyring, let the audit log be written, and read the signing keys; raises `StartRefused`."""
        await check_keyring(self.trail.db, self.trail.keys.keyring)
        self.trail.open()
        try:
            await self.signing.open()
        except BaseException:
            self.trail.close()
            raise

    def close(self) -> None:
        """Write the audit log no more."""
        self.trail.close()


class SecurityOperations(AuditOperations, KeyOperations, ImpersonationOperations):
    """The operations that the parts keep, and what they do by themselves."""

    _security: Security

    async def audit_log(self, query: AuditQuery) -> AuditPage:
        """See `AuditOperations.audit_log`."""
        return await self._security.audit.log(query)

    async def my_audit_log(self, cursor: str, limit: int) -> AuditPage:
        """See `AuditOperations.my_audit_log`."""
        return await self._security.audit.own(cursor, limit)

    async def audit_anchor(self) -> AuditAnchor:
        """See `AuditOperations.audit_anchor`."""
        return await self._security.audit.anchor()

    async def verify_audit(self, anchors: tuple[AuditAnchor, ...]) -> AuditReport:
        """See `AuditOperations.verify_audit`."""
        return await self._security.audit.verify(anchors)

    async def signing_keys(self) -> tuple[SigningKeyState, ...]:
        """See `KeyOperations.signing_keys`."""
        return await self._security.signing.listed()

    async def rotate_signing_key(self) -> SigningKeyState:
        """See `KeyOperations.rotate_signing_key`."""
        return await self._security.signing.rotate()

    async def impersonate(self, user_id: UUID, data: Impersonate) -> Impersonation:
        """See `ImpersonationOperations.impersonate`."""
        return await self._security.impersonation.begin(user_id, data)

    async def end_impersonation(self, session_id: UUID) -> None:
        """See `ImpersonationOperations.end_impersonation`."""
        await self._security.impersonation.end(session_id)

    @on(AuditRecorded)
    async def append_to_audit_log(self, event: AuditRecorded) -> None:
        """What another service told belongs into the log as well."""
        await self._security.audit.take_over(event)

    @job(every=timedelta(hours=1))
    async def tend_signing_keys(self) -> None:
        """Introduce a new signing key in time, and destroy those that verify nothing any more."""
        await self._security.signing.tend()
