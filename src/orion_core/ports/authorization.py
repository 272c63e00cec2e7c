"""Authorization: may the one who asks do this to that?

Guarantees: nothing is allowed unless a role, a grant or ownership allows it, and a grant that denies overrides all of
them; a change of roles or grants counts within a second where its event arrives, within 60 s at the latest; what cannot
be decided is `Unavailable` and never allowed. What is hidden is not found: who may not see a resource does not learn
that it exists. Denied attempts are in the audit log with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID


class Authorization(Protocol):
    """Decides about the actor of the current context. Ask outside of transactions: it may ask another service."""

    async def can(self, permission: str, resource: str = "", *, owner: UUID | None = None) -> bool:
        """Whether the actor may do `permission` (``invoices:write``) to `resource` (``invoice:42``).

        Without a resource it is about the permission alone. `owner` is the person to whom the resource belongs: people
        may do to it what they want unless a grant denies it. Raises `Invalid` for names that are none, and
        `Unavailable`.
        """
        ...

    async def require(
        self, permission: str, resource: str = "", *, owner: UUID | None = None, sees: str | None = None
    ) -> None:
        """Return if the actor may, and record the denial if not.

        Raises `Unauthenticated` for nobody, `NotFound` for a resource that the actor may not see, and `Forbidden` for
        one that may be seen. Whoever holds `sees` sees it: by default the permission to read the same
        (``invoices:read``); an empty one says that everybody does. Otherwise like `can`.
        """
        ...

    async def visible(self, permission: str, resources: Mapping[str, UUID | None]) -> tuple[str, ...]:
        """Those of `resources` to which the actor may do `permission`, in order: exactly those that `can` allows.

        Each resource comes with its owner, or None. All are asked about at once. Raises like `can`.
        """
        ...
