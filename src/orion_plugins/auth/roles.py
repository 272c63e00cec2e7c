"""What each role may do."""

from __future__ import annotations

from collections.abc import Iterable

ADMIN = "admin"
PERMISSIONS: dict[str, tuple[str, ...]] = {ADMIN: ("*",)}


def permissions_of(roles: Iterable[str]) -> tuple[str, ...]:
    """The permissions of `roles` together, sorted; a role that is not known has none."""
    return tuple(sorted({permission for role in roles for permission in PERMISSIONS.get(role, ())}))
