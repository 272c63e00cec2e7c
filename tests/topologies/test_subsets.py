"""Every set of plugins boots, says what is missing, and never breaks on an import."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orion_core.contract import Contract
from orion_core.contracts.analytics import Analytics
from orion_core.contracts.auth import Auth
from orion_core.contracts.notifications import Notifications
from orion_core.contracts.search import Query, Search
from orion_core.contracts.storage import Storage
from orion_core.contracts.users import Users
from orion_core.contracts.webhooks import Webhooks
from orion_core.errors import Error, Unavailable
from orion_core.plugin import discover
from orion_core.testing import InProcess

PLUGINS = ("analytics", "auth", "gateway", "notifications", "search", "storage", "users", "webhooks")
SUBSETS = [subset for size in range(1, 9) for subset in itertools.combinations(PLUGINS, size)]
CONTRACTS: dict[str, type[Contract]] = {
    "analytics": Analytics,
    "auth": Auth,
    "notifications": Notifications,
    "search": Search,
    "storage": Storage,
    "users": Users,
    "webhooks": Webhooks,
}
PATHS = {
    "analytics": "/api/v1/analytics/metrics/user.registered",
    "auth": "/.well-known/jwks.json",
    "notifications": "/api/v1/notifications",
    "search": "/api/v1/search?index=users&q=ada",
    "storage": "/api/v1/storage/buckets",
    "users": "/api/v1/users/me",
    "webhooks": "/api/v1/webhooks/endpoints",
}
ASK: Mapping[str, Callable[[InProcess], Awaitable[Any]]] = {
    "analytics": lambda orion: orion.service(Analytics).metric("user.registered"),
    "auth": lambda orion: orion.service(Auth).keys(),
    "notifications": lambda orion: orion.service(Notifications).mine("", 10),
    "search": lambda orion: orion.service(Search).find(Query("users")),
    "storage": lambda orion: orion.service(Storage).bucket("pictures"),
    "users": lambda orion: orion.service(Users).get(UUID(int=1)),
    "webhooks": lambda orion: orion.service(Webhooks).endpoints("", 10),
}
"""One operation of each contract."""


async def refusal(orion: InProcess, name: str) -> Error | None:
    """What asking the contract `name` raises, if anything."""
    try:
        await ASK[name](orion)
    except Error as error:
        return error
    return None


async def check(subset: tuple[str, ...], folder: Path) -> None:
    """Boot `subset`, and ask for all that is there and all that is not."""
    # The API pages describe all installed plugins, whatever runs: to write them 255 times would show nothing.
    async with InProcess(folder, subset, settings={"docs": False}) as orion:
        assert (await orion.http.get("/health/ready")).status_code == 200
        health = (await orion.http.get("/health")).json()["services"]
        for name in CONTRACTS:
            answer = await orion.http.get(PATHS[name])
            if name in subset:
                assert answer.status_code in (200, 401, 404), (subset, name, answer.text)
                assert health[name] == "pass", (subset, name)
                assert not isinstance(await refusal(orion, name), Unavailable), (subset, name)
                continue
            assert health[name] == "warn", (subset, name)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert name in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) >= 1
            with pytest.raises(Unavailable, match=name):
                await ASK[name](orion)


@pytest.mark.parametrize("first", PLUGINS)
async def test_every_subset_boots_and_names_what_is_missing(first: str, tmp_path: Path) -> None:
    """One test for all sets whose first plugin by name is `first`."""
    for number, subset in enumerate(each for each in SUBSETS if each[0] == first):
        await check(subset, tmp_path / str(number))


def test_all_subsets_of_all_plugins_are_tried() -> None:
    assert sorted(discover().plugins) == sorted(PLUGINS)
    assert len(set(SUBSETS)) == len(SUBSETS) == 255
