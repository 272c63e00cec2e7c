"""Every set of plugins boots, says what is missing, and never breaks on an import."""

from __future__ import annotations

import itertools
from pathlib import Path
from uuid import UUID

import pytest

from orion_core.contract import Contract
from orion_core.contracts.analytics import Analytics
from orion_core.contracts.auth import Auth
from orion_core.contracts.notifications import Notifications
from orion_core.contracts.users import Users
from orion_core.errors import Error, Unavailable
from orion_core.testing import InProcess

PLUGINS = ("analytics", "auth", "gateway", "notifications", "users")
SUBSETS = [subset for size in range(1, 6) for subset in itertools.combinations(PLUGINS, size)]
CONTRACTS: dict[str, type[Contract]] = {
    "analytics": Analytics,
    "auth": Auth,
    "notifications": Notifications,
    "users": Users,
}
PATHS = {
    "analytics": "/api/v1/analytics/metrics/user.registered",
    "auth": "/.well-known/jwks.json",
    "notifications": "/api/v1/notifications",
    "users": "/api/v1/users/me",
}


async def ask(orion: InProcess, name: str) -> None:
    """Call one operation of the contract `name`."""
    if name == "analytics":
        await orion.service(Analytics).metric("user.registered")
    elif name == "auth":
        await orion.service(Auth).keys()
    elif name == "notifications":
        await orion.service(Notifications).mine("", 10)
    else:
        await orion.service(Users).get(UUID(int=1))


async def refusal(orion: InProcess, name: str) -> Error | None:
    """What `ask` raises, if anything."""
    try:
        await ask(orion, name)
    except Error as error:
        return error
    return None


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
async def test_every_subset_boots_and_names_what_is_missing(subset: tuple[str, ...], tmp_path: Path) -> None:
    async with InProcess(tmp_path, subset) as orion:
        assert (await orion.http.get("/health/ready")).status_code == 200
        health = (await orion.http.get("/health")).json()["services"]
        for name in CONTRACTS:
            answer = await orion.http.get(PATHS[name])
            if name in subset:
                assert answer.status_code in (200, 401)
                assert health[name] == "pass"
                continue
            assert health[name] == "warn"
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert name in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) >= 1
            with pytest.raises(Unavailable, match=name):
                await ask(orion, name)
        for name in set(subset) & set(CONTRACTS):
            assert not isinstance(await refusal(orion, name), Unavailable)


async def test_there_are_thirty_one_subsets() -> None:
    assert len(SUBSETS) == 31
