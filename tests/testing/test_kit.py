"""The test kit keeps what it says."""

from __future__ import annotations

import abc
import asyncio
import os
import socket
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from orion_core.context import SYSTEM, Actor, current
from orion_core.contract import Contract
from orion_core.contracts.auth import Auth, UserRegistered
from orion_core.contracts.users import Users
from orion_core.errors import CallInsideTransaction, Conflict, Forbidden, Invalid, Unauthenticated, Unavailable
from orion_core.jobs import Jobs, job
from orion_core.plugin import Plugin
from orion_core.ports.database import OPEN_TRANSACTION
from orion_core.testing import Fake, InProcess, Orion


class Shop(Contract, name="shop"):
    """Sells."""

    @abc.abstractmethod
    async def price(self, article: str, count: int = 1) -> int: ...

    @abc.abstractmethod
    async def close(self) -> None: ...


class Later(Contract, name="later"):
    """Does things later."""

    @abc.abstractmethod
    async def plan(self) -> None: ...

    @abc.abstractmethod
    async def done(self) -> int: ...


DONE: list[str] = []


@attrs.frozen
class LaterService(Later):
    """Plans for tomorrow."""

    jobs: Jobs

    async def plan(self) -> None:
        await self.jobs.enqueue(self.work, delay=timedelta(days=1))

    async def done(self) -> int:
        return len(DONE)

    @job()
    async def work(self) -> None:
        DONE.append("x")


async def test_a_fake_answers_by_functions_values_and_exceptions() -> None:
    assert await Fake(Shop, price=7).price("pen") == 7
    assert await Fake(Shop, price=lambda article, count: len(article) * count).price("pen", 2) == 6

    async def later(article: str, count: int) -> int:
        return count

    assert await Fake(Shop, price=later).price("pen", count=3) == 3
    with pytest.raises(Conflict, match="gone"):
        await Fake(Shop, price=Conflict("gone")).price("pen")


async def test_a_fake_is_as_strict_as_what_it_stands_for() -> None:
    assert isinstance(Fake(Shop), Shop)
    with pytest.raises(TypeError, match="Shop has no operation prize"):
        Fake(Shop, prize=7)
    with pytest.raises(Unavailable, match="the fake of shop has no answer to close"):
        await Fake(Shop, price=7).close()
    with pytest.raises(Invalid, match="article: must be text"):
        await Fake(Shop, price=7).price(5)  # type: ignore[arg-type]


def sockets() -> set[str]:
    """The sockets of this process, the event loop's own pair included."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode):
                found.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sockets are counted in /proc")
async def test_a_whole_platform_in_process_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sockets()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a socket was used")

    for name in ("bind", "connect", "connect_ex", "listen"):
        monkeypatch.setattr(socket.socket, name, refuse)
    async with InProcess(tmp_path) as orion:
        await orion.sign_up()
        await orion.settle()
        assert sockets() == before


@pytest.mark.reaches("local", "wire")
async def test_acting_as_somebody_ends_with_its_block(orion: Orion) -> None:
    person = await orion.sign_up()
    await orion.settle()

    with orion.acting_as(person):
        assert (await orion.service(Auth).me()).email == person.email
        with orion.acting_as(uuid4(), "analytics:read"):
            assert current().actor.may("analytics:read")
        with orion.acting_as(Actor("anonymous")), pytest.raises(Unauthenticated):
            await orion.service(Auth).me()
        assert current().actor.user_id == person.id
    assert current().actor == SYSTEM


@pytest.mark.reaches("local", "wire")
async def test_what_was_told_is_seen_after_it_was_committed(orion: Orion) -> None:
    assert await orion.told(UserRegistered) == []
    first, second = await orion.sign_up(), await orion.sign_up()

    assert [event.user_id for event in await orion.told(UserRegistered)] == [first.id, second.id]


async def test_a_day_passes_at_once(tmp_path: Path) -> None:
    DONE.clear()
    async with InProcess(tmp_path, ["later"], plugins=[Plugin("later", service=LaterService)]) as orion:
        await orion.service(Later).plan()
        await orion.settle()
        assert await orion.service(Later).done() == 0
        await orion.advance(timedelta(hours=23))
        await orion.settle()
        assert await orion.service(Later).done() == 0
        await orion.advance(timedelta(hours=2))
        await orion.settle()
        assert await orion.service(Later).done() == 1
        with pytest.raises(ValueError, match="never runs backwards"):
            await orion.advance(timedelta(days=-1))


async def test_a_fake_takes_the_place_of_a_service_in_a_running_platform(orion: InProcess) -> None:
    orion.fake(Users, get=Forbidden("not today"))

    with pytest.raises(Forbidden, match="not today"):
        await orion.service(Users).get(UUID(int=1))


async def test_each_person_is_somebody_else(orion: Orion) -> None:
    first, second = await asyncio.gather(orion.sign_up(), orion.sign_up())

    assert first.email != second.email
    assert (await orion.http.get("/api/v1/auth/me", headers=first.headers)).json()["id"] == str(first.id)
    assert (await orion.sign_in(second.email)).id == second.id
    assert "admin" in (await orion.http.get("/api/v1/auth/me", headers=(await orion.admin()).headers)).json()["roles"]


async def test_a_fake_does_not_hide_a_call_inside_a_transaction() -> None:
    """Unit tests of a service by hand use fakes: what fails in a platform must fail there too."""

    class Open:
        def after_commit(self, callback: Any) -> None: ...

    OPEN_TRANSACTION.set(Open())
    with pytest.raises(CallInsideTransaction):
        await Fake(Shop, price=7).price("pen")
