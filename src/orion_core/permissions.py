"""Permissions: what covers what, and the decision about one resource. Pure functions.

A permission is called ``resource:action`` (``invoices:read``), a resource ``kind:id`` (``invoice:42``). A pattern that
ends in ``*`` covers all that begin alike; a ``*`` anywhere else is no wildcard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal

import attrs

OWN_READ: Final = "own:read"
"""The scope with which an API key reads what belongs to its owner."""
OWN_WRITE: Final = "own:write"
"""The scope with which an API key changes what belongs to its owner."""

Effect = Literal["allow", "deny"]
Reason = Literal["platform", "denied_by_grant", "role", "owner", "grant", "no_permission"]


def covers(pattern: str, wanted: str) -> bool:
    """Whether `pattern` is `wanted` or, by a wildcard at its end, everything that begins like it."""
    return pattern == wanted or (pattern.endswith("*") and wanted.startswith(pattern[:-1]))


def covered(patterns: Iterable[str], wanted: str) -> bool:
    """Whether one of `patterns` covers `wanted`, which may be a pattern itself."""
    return any(covers(pattern, wanted) for pattern in patterns)


def narrowed(held: Collection[str], scopes: Collection[str]) -> tuple[str, ...]:
    """What is left of the permissions `held` where only `scopes` are open, sorted: what both of them cover."""
    both = {scope for scope in scopes if covered(held, scope)} | {each for each in held if covered(scopes, each)}
    return tuple(sorted(both))


def own_scope(reads: bool) -> str:
    """The scope that an API key needs for what belongs to its owner: to read it, or to change it."""
    return OWN_READ if reads else OWN_WRITE


def sees(permission: str) -> str:
    """The permission to see what `permission` is about: ``invoices:read`` for ``invoices:write``."""
    return f"{permission.partition(':')[0]}:read"


@attrs.frozen
class Rule:
    """One grant as far as it matters here: `permission` and `resource` may end in a wildcard."""

    effect: Effect
    permission: str
    resource: str

    def applies(self, permission: str, resource: str) -> bool:
        """Whether the rule says something about doing `permission` to `resource`."""
        return covers(self.permission, permission) and covers(self.resource, resource)


@attrs.frozen
class Verdict:
    """A decision, and the id of its reason."""

    allowed: bool
    reason: Reason


def decide(
    permission: str,
    resource: str = "",
    *,
    held: Collection[str],
    rules: Iterable[Rule] = (),
    owner: bool = False,
    scopes: Collection[str] | None = None,
) -> Verdict:
    """Whether somebody may do `permission` to `resource`; to no resource in particular if that is empty.

    `held` are the permissions of their roles, already narrowed to `scopes` where an API key asks; `rules` the grants to
    them and to their roles; `owner` says whether the resource is theirs. Nothing is allowed unless something allows it,
    and a rule that denies overrides all that allow.
    """
    about = [rule for rule in rules if rule.applies(permission, resource)] if resource else []
    if any(rule.effect == "deny" for rule in about):
        return Verdict(False, "denied_by_grant")
    if covered(held, permission):
        return Verdict(True, "role")
    if owner and resource and (scopes is None or covered(scopes, own_scope(permission == sees(permission)))):
        return Verdict(True, "owner")
    if about and (scopes is None or covered(scopes, permission)):
        return Verdict(True, "grant")
    return Verdict(False, "no_permission")
