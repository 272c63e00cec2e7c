"""A plugin that asks `Authorization`: what its people see, and when it changes."""

from __future__ import annotations

import abc
from typing import Any
from uuid import UUID

import attrs
import pytest
from litestar import Controller, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath

from orion_core import Authorization, Contract, Plugin, value
from orion_core.context import Actor, acting
from orion_core.errors import Forbidden, NotFound, Unauthenticated
from orion_core.permissions import Rule
from orion_core.testing import FakeAuthorization, InProcess, Orion, Person
from orion_core.web import signed_in

MEMOS = "/api/v1/memos"
ADMIN = "/api/v1/auth/admin"
OWNERS: dict[str, UUID | None] = {}
"""Every memo there is, and whose it is."""


@value
class MemoList:
    """Names of memos."""

    items: tuple[str, ...]


class Memos(Contract, name="memos"):
    """Short notes."""

    @abc.abstractmethod
    async def read(self, name: str) -> str: ...

    @abc.abstractmethod
    async def write(self, name: str) -> str: ...

    @abc.abstractmethod
    async def list(self) -> MemoList: ...


@attrs.frozen
class MemosService(Memos):
    """Keeps them in a dictionary."""

    authz: Authorization

    async def read(self, name: str) -> str:
        await self.authz.require("memos:read", f"memo:{name}", owner=OWNERS.get(name))
        return f"{name} read"

    async def write(self, name: str) -> str:
        await self.authz.require("memos:write", f"memo:{name}", owner=OWNERS.get(name))
        return f"{name} written"

    async def list(self) -> MemoList:
        found = await self.authz.visible("memos:read", {f"memo:{name}": owner for name, owner in OWNERS.items()})
        return MemoList(tuple(each.removeprefix("memo:") for each in found))


class MemoRoutes(Controller):
    """Memos."""

    path = MEMOS

    @get("/", opt=signed_in())
    async def every(self, memos: NamedDependency[Memos]) -> MemoList:
        return await memos.list()

    @get("/{name:str}", opt=signed_in())
    async def read(self, memos: NamedDependency[Memos], name: FromPath[str]) -> str:
        return await memos.read(name)

    @put("/{name:str}", opt=signed_in())
    async def write(self, memos: NamedDependency[Memos], name: FromPath[str]) -> str:
        return await memos.write(name)


PLUGIN = Plugin("memos", service=MemosService, routes=[MemoRoutes], permissions=["memos:read", "memos:write"])
in_memos = pytest.mark.orion(services=["auth"], plugins=[PLUGIN])


async def sees(orion: Orion, who: Person) -> tuple[list[str], list[int], list[int]]:
    """The list, and the statuses of reading and of writing each memo."""
    listed = await orion.http.get(MEMOS, headers=who.headers)
    reads = [(await orion.http.get(f"{MEMOS}/{name}", headers=who.headers)).status_code for name in OWNERS]
    writes = [(await orion.http.put(f"{MEMOS}/{name}", headers=who.headers)).status_code for name in OWNERS]
    return listed.json()["items"], reads, writes


async def ask(orion: Orion, who: Person, method: str, path: str, **body: Any) -> Any:
    answer = await orion.http.request(method, ADMIN + path, json=body or None, headers=who.headers)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


@in_memos
@pytest.mark.reaches("local", "wire")
async def test_lists_and_objects_agree_and_follow_roles_grants_and_ownership(orion: Orion) -> None:
    """A53, A54, A55, A37: hidden is 404, visible but forbidden 403, and a change counts with the next request."""
    admin, ada = await orion.admin(), await orion.sign_up()
    OWNERS.clear()
    OWNERS.update({"first": admin.id, "second": None, "hers": ada.id})

    assert await sees(orion, ada) == (["hers"], [404, 404, 200], [404, 404, 200])
    assert await sees(orion, admin) == (["first", "second", "hers"], [200] * 3, [200] * 3)

    given = await ask(
        orion, admin, "POST", "/grants", permission="memos:read", resource="memo:first", user_id=str(ada.id)
    )
    await orion.settle()
    assert await sees(orion, ada) == (["first", "hers"], [200, 404, 200], [403, 404, 200])

    await ask(orion, admin, "POST", "/roles", name="reader", permissions=["memos:read"])
    await ask(orion, admin, "PUT", f"/users/{ada.id}/roles/reader")
    await ask(orion, admin, "DELETE", f"/grants/{given['id']}")
    await orion.settle()
    assert await sees(orion, ada) == (["first", "second", "hers"], [200] * 3, [403, 403, 200])

    denial = {"permission": "memos:*", "resource": "memo:*", "role": "reader", "effect": "deny"}
    await ask(orion, admin, "POST", "/grants", **denial)
    await orion.settle()
    assert await sees(orion, ada) == ([], [404] * 3, [404] * 3)

    await ask(orion, admin, "DELETE", "/roles/reader")
    await orion.settle()
    assert await sees(orion, ada) == (["hers"], [404, 404, 200], [404, 404, 200])


@in_memos
@pytest.mark.reaches("local", "wire")
async def test_nobody_is_told_to_sign_in(orion: Orion) -> None:
    """A53."""
    for path in (MEMOS, f"{MEMOS}/first"):
        assert (await orion.http.get(path)).status_code == 401


@in_memos
async def test_an_application_of_another_framework_gets_no_api_keys_unasked(orion: InProcess) -> None:
    """A53: it would take one without scopes for the person."""
    ada = await orion.sign_up()
    body = {"name": "import", "expires_in_days": 1, "scopes": ["own:read"]}
    made = await orion.http.post("/api/v1/auth/api-keys", json=body, headers=ada.headers)
    sent = f"Bearer {made.json()['secret']}"

    with pytest.raises(Unauthenticated, match="API key"):
        await orion.platform.actor(sent)
    assert (await orion.platform.actor(sent, api_keys=True)).scopes == ("own:read",)
    assert (await orion.platform.actor(ada.headers["authorization"])).user_id == ada.id


async def test_the_fake_decides_as_the_platform_does() -> None:
    ada, other = UUID(int=1), UUID(int=2)
    OWNERS.clear()
    OWNERS.update({"first": other, "second": ada, "third": ada, "fourth": None})
    authz = FakeAuthorization(Rule("allow", "memos:*", "memo:first"), Rule("deny", "*", "memo:second"))
    memos = MemosService(authz)

    with acting(Actor("user", str(ada))):
        assert (await memos.list()).items == ("first", "third")
        assert await memos.write("first") == "first written"
        with pytest.raises(NotFound):
            await memos.read("second")
    with acting(Actor("user", str(other), permissions=("memos:read",))):
        assert (await memos.list()).items == ("first", "third", "fourth")
        with pytest.raises(Forbidden):
            await memos.write("fourth")
    with acting(Actor("service", "jobs")):
        assert len((await memos.list()).items) == 4
