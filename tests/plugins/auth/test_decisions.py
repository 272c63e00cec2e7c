"""Lists return exactly what `can` allows, on random graphs of people, roles, grants and resources."""

from __future__ import annotations

import json
import random
from pathlib import Path
from uuid import UUID

import attrs
import pytest
from access_service import Accounts, accounts_on

from orion_core.authorization import GrantedAuthorization
from orion_core.context import acting
from orion_core.ids import new_id
from orion_plugins.auth.tables import AuthGrant, AuthRole, AuthRoleHolder, User

SEED = 20261125
GRAPHS = 500
ACTIONS = ("read", "write", "share")
KINDS = ("invoice", "memo")
PERMISSIONS = tuple(f"{kind}s:{action}" for kind in KINDS for action in ACTIONS)
PATTERNS = (*PERMISSIONS, "invoices:*", "memos:*", "*")


@attrs.frozen
class Graph:
    """Who holds which role, what roles give, which grants there are, and who owns what."""

    people: tuple[UUID, ...]
    given: dict[str, tuple[str, ...]]
    held: dict[UUID, tuple[str, ...]]
    grants: tuple[tuple[UUID | str, str, str, str], ...]
    owners: dict[str, UUID | None]

    def allows(self, person: UUID, permission: str, resource: str, scopes: tuple[str, ...] | None) -> bool:
        """What ought to be the answer, spelled out without the help of the code that gives it."""

        def says(pattern: str, name: str) -> bool:
            return pattern in (name, "*", name.split(":")[0] + ":*")

        mine = [
            (effect, what)
            for subject, what, where, effect in self.grants
            if (subject == person or subject in self.held[person]) and says(where, resource) and says(what, permission)
        ]
        if any(effect == "deny" for effect, _ in mine):
            return False
        in_scope = scopes is None or any(says(scope, permission) for scope in scopes)
        if any(says(what, permission) for role in self.held[person] for what in self.given[role]) and in_scope:
            return True
        if self.owners[resource] == person:
            own = "own:read" if permission.endswith(":read") else "own:write"
            if scopes is None or own in scopes or "*" in scopes:
                return True
        return bool(mine) and in_scope


def a_graph(rng: random.Random, number: int) -> Graph:
    people = tuple(new_id() for _ in range(rng.randint(1, 3)))
    roles = [f"role-{number}-{each}" for each in range(rng.randint(0, 3))]
    resources = [f"{rng.choice(KINDS)}:{number}-{each}" for each in range(rng.randint(1, 8))]
    subjects: list[UUID | str] = [*people, *roles]
    where = [*resources, "invoice:*", "memo:*"]
    grants = {
        (rng.choice(subjects), rng.choice(PATTERNS), rng.choice(where), rng.choice(["allow"] * 3 + ["deny"]))
        for _ in range(rng.choice([0, 1, 2, 4, 8]))
    }
    return Graph(
        people,
        {role: tuple(rng.sample(PATTERNS[:-1], k=rng.randint(0, 2))) for role in roles},
        {person: tuple(rng.sample(roles, k=rng.randint(0, len(roles)))) for person in people},
        tuple(grants),
        {resource: rng.choice([None, *people]) for resource in resources},
    )


async def planted(accounts: Accounts, graph: Graph) -> None:
    now = accounts.clock.now()
    moment = {"created_at": now, "updated_at": now}
    users = [User(id=each, email=f"{each}@x.org", email_key=f"{each}@x.org", **moment) for each in graph.people]
    roles = [AuthRole(name=name, permissions=json.dumps(what), **moment) for name, what in graph.given.items()]
    holders = [
        AuthRoleHolder(id=new_id(), user_id=person, role=role, created_at=now)
        for person, held in graph.held.items()
        for role in held
    ]
    grants = [
        AuthGrant(
            id=new_id(),
            user_id=subject if isinstance(subject, UUID) else None,
            role=subject if isinstance(subject, str) else None,
            permission=what,
            resource=where,
            effect=effect,
            granted_by="system",
            created_at=now,
        )
        for subject, what, where, effect in graph.grants
    ]
    async with accounts.db.transaction():
        await User.insert(*users)
        for table, found in ((AuthRole, roles), (AuthRoleHolder, holders), (AuthGrant, grants)):
            if found:
                await table.insert(*found)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_lists_return_exactly_what_can_allows(database: str, tmp_path: Path) -> None:
    """A54, A53: over 500 random graphs, and both are what the graph says."""
    rng = random.Random(SEED)
    seen = {True: 0, False: 0}
    async with accounts_on(database, tmp_path) as accounts:
        authz = GrantedAuthorization(accounts.auth)
        for number in range(GRAPHS):
            graph = a_graph(rng, number)
            await planted(accounts, graph)
            person, permission = rng.choice(graph.people), rng.choice(PERMISSIONS)
            scopes = rng.choice([None, None, ("own:read",), ("own:write", "invoices:read"), ("memos:*",), ("*",)])
            with acting(await accounts.asking(person, scopes)):
                listed = await authz.visible(permission, graph.owners)
                allowed = [
                    resource
                    for resource, owner in graph.owners.items()
                    if await authz.can(permission, resource, owner=owner)
                ]
            expected = [each for each in graph.owners if graph.allows(person, permission, each, scopes)]
            assert list(listed) == allowed == expected, (SEED, number, graph, person, permission, scopes)
            seen[True] += len(allowed)
            seen[False] += len(graph.owners) - len(allowed)
    assert min(seen.values()) > GRAPHS / 2, f"nothing is proven by {seen}"
