"""The security audit log: what happened to accounts, sessions, keys and rights, in a chain that shows every change."""

from __future__ import annotations

import abc
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.contract import repeatable
from orion_core.validators import between, is_plain, max_len
from orion_core.values import value


@value
class AuditEntry:
    """One thing that happened.

    `actor` did it (``user:<id>``, ``service:<name>``, ``system`` or ``anonymous``), `impersonator` is who acted in the
    actor's name, `user_id` is whom it is about. `fields` and `purpose` tell what of a person was read and what for.
    Where the request came from (`ip_address`, `other_ip_address`, `user_agent`, `request_id`) and the `note` are empty
    once the person they identify was erased, and where the reader may not see them. `hash` is the entry's own, in
    hexadecimal.
    """

    seq: int
    id: UUID
    at: datetime
    action: str
    outcome: str
    reason: str
    actor: str
    impersonator: str
    user_id: UUID | None
    session_id: UUID | None
    method: str
    fields: tuple[str, ...]
    purpose: str
    note: str
    ip_address: str
    other_ip_address: str
    user_agent: str
    request_id: str
    hash: str


@value
class AuditPage:
    """Entries, newest first; `next_cursor` continues, None at the end."""

    items: tuple[AuditEntry, ...]
    next_cursor: str | None


@value
class AuditQuery:
    """Which entries are wanted: an empty field stands for all. `since` is included, `until` is not."""

    cursor: str = ""
    limit: int = attrs.field(default=50, validator=between(1, 200))
    action: str = attrs.field(default="", validator=[max_len(64), is_plain])
    user_id: UUID | None = None
    outcome: str = attrs.field(default="", validator=[max_len(16), is_plain])
    since: datetime | None = None
    until: datetime | None = None


@value
class AuditAnchor:
    """The head of the log at a time. Kept where nobody who can write to the database can, it reveals a tail that was
    cut off, and a chain that was computed anew."""

    seq: int
    hash: str
    at: datetime


@value
class AuditFault:
    """Something that is wrong with the log at `seq`. `kind` is changed, missing, unreadable, head or anchor."""

    seq: int
    kind: str
    detail: str


@value
class AuditReport:
    """What a verification found: `checked` entries, up to the head with `seq` and `hash`; no `faults` if all is well.

    At most 100 faults are listed.
    """

    checked: int
    seq: int
    hash: str
    faults: tuple[AuditFault, ...]


class AuditOperations(abc.ABC):
    """Reading and verifying the audit log. Nothing changes it: it grows by what is recorded."""

    @abc.abstractmethod
    async def audit_log(self, query: AuditQuery) -> AuditPage:
        """The entries that `query` asks for, newest first; needs the permission `audit:read`. That is recorded."""

    @abc.abstractmethod
    async def my_audit_log(self, cursor: str, limit: int) -> AuditPage:
        """What is recorded about the caller, readings of their data by others included; newest first.

        Where a request of somebody else came from is not told.
        """

    @repeatable
    @abc.abstractmethod
    async def audit_anchor(self) -> AuditAnchor:
        """The head of the log now; needs the permission `audit:read`."""

    @repeatable
    @abc.abstractmethod
    async def verify_audit(self, anchors: tuple[AuditAnchor, ...]) -> AuditReport:
        """Compute the whole chain anew and compare it with what is stored, and with `anchors` taken earlier.

        Needs the permission `audit:read`. It reads every entry.
        """
