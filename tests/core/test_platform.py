"""The life of a platform: start, stop, start again, and what is left of a start that failed."""

from __future__ import annotations

import abc
import asyncio
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs
import httpx
import pytest

from orion_core.context import ANONYMOUS
from orion_core.contract import Contract
from orion_core.errors import StartRefused, Unavailable
from orion_core.events import Events, event, on
from orion_core.jobs import Jobs, job
from orion_core.platform import Platform
from orion_core.plugin import Discovery, Plugin, hookimpl
from orion_core.ports.database import Database
from orion_core.secret import Secret
from orion_core.settings import Settings
from orion_core.testing.engines import open_work, until

LOG: list[str] = []


@event("shop.sold")
class Sold:
    """Something was sold."""

    article: str


class Shop(Contract, name="shop"):
    """Sells."""

    @abc.abstractmethod
    async def sell(self, article: str) -> None: ...

    @abc.abstractmethod
    async def deliver(self) -> None: ...


class Store(Contract, name="store"):
    """Keeps."""

    @abc.abstractmethod
    async def take(self, article: str) -> str: ...


@attrs.frozen
class ShopService(Shop):
    """Tells, hears and enqueues."""

    db: Database
    events: Events
    jobs: Jobs
    store: Store

    async def __aenter__(self) -> Self:
        LOG.append("shop opened")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        LOG.append("shop closed")

    async def sell(self, article: str) -> None:
        async with self.db.transaction():
            await self.events.publish(Sold(article))

    async def deliver(self) -> None:
        await self.jobs.enqueue(self.send)

    @on(Sold)
    async def hear(self, event: Sold) -> None:
        LOG.append(f"heard {event.article}")

    @job()
    async def send(self) -> None:
        LOG.append("sent")


class Breaks(Store):
    """Fails when it is entered."""

    async def __aenter__(self) -> Self:
        raise RuntimeError("no warehouse")

    async def __aexit__(self, *_: object) -> None: ...

    async def take(self, article: str) -> str:
        return article


class Works(Store):
    """Does not."""

    async def take(self, article: str) -> str:
        return article


SHOP, STORE = Plugin("shop", service=ShopService), Plugin("store", service=Works)


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


def platform(folder: Path, *plugins: Plugin, **settings: Any) -> Platform:
    """A platform of exactly these plugins."""
    found = Discovery({plugin.name: plugin for plugin in plugins}, {plugin.name: plugin for plugin in plugins})
    quick: dict[str, Any] = {"synchronous": "NORMAL", "relay_interval": 0.02, "data_dir": folder, **settings}
    return Platform(found, (), Settings(**quick))


async def settled(orion: Platform) -> None:
    """Wait until no event, delivery or job is left."""

    async def idle() -> bool:
        return not any([await open_work(db) for db in orion.databases.values()])

    await until(idle, "settling")


async def test_a_platform_that_was_closed_opens_again_and_works(tmp_path: Path) -> None:
    """Nothing of the first life may serve the second: its databases are closed."""
    orion = platform(tmp_path, SHOP, STORE)
    for article in ("book", "pen"):
        async with orion:
            await orion.service(Shop).sell(article)
            await orion.service(Shop).deliver()
            await settled(orion)

    assert [sorted(LOG[:4]), sorted(LOG[4:])] == [
        ["heard book", "sent", "shop closed", "shop opened"],
        ["heard pen", "sent", "shop closed", "shop opened"],
    ]


async def test_before_and_after_its_life_every_call_is_unavailable(tmp_path: Path) -> None:
    orion = platform(tmp_path, STORE)
    store = orion.service(Store)

    with pytest.raises(Unavailable, match="not open yet"):
        await store.take("book")
    async with orion:
        assert await store.take("book") == "book"
    with pytest.raises(Unavailable, match="not open yet"):
        await store.take("book")


async def test_only_one_platform_is_open_in_a_process(tmp_path: Path) -> None:
    async with platform(tmp_path / "one", STORE) as first:
        with pytest.raises(RuntimeError, match="close it first"):
            async with platform(tmp_path / "two", STORE):
                pass
        assert await first.service(Store).take("book") == "book"


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    """Whatever was entered before is left; tasks and connections that stayed would be warnings, which are errors."""
    broken = platform(tmp_path, SHOP, Plugin("store", service=Breaks))
    tasks = asyncio.all_tasks()

    with pytest.raises(RuntimeError, match="no warehouse"):
        async with broken:
            pass

    assert asyncio.all_tasks() == tasks
    assert not broken.databases
    assert not broken.services
    async with platform(tmp_path, SHOP, STORE) as orion:
        await orion.service(Shop).sell("book")
        await settled(orion)


async def test_a_start_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    reached = asyncio.Event()

    class Slow(Works):
        async def __aenter__(self) -> Self:
            reached.set()
            await asyncio.Event().wait()
            return self

        async def __aexit__(self, *_: object) -> None: ...

    tasks = asyncio.all_tasks()
    opening = asyncio.ensure_future(platform(tmp_path, SHOP, Plugin("store", service=Slow)).__aenter__())
    await reached.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    assert asyncio.all_tasks() == tasks
    async with platform(tmp_path, STORE):
        pass


async def test_intake_stops_first_and_services_end_after_what_uses_them(tmp_path: Path) -> None:
    order: list[str] = []
    running, release = asyncio.Event(), asyncio.Event()

    @attrs.frozen
    class Slow(ShopService):
        @on(Sold)
        async def hear(self, event: Sold) -> None:
            running.set()
            await release.wait()
            order.append("listener ended")

        async def __aexit__(self, *_: object) -> None:
            order.append("service closed")

    orion = platform(tmp_path, Plugin("shop", service=Slow), STORE)

    async def leaving() -> None:
        order.append("left")
        release.set()

    async with orion:
        orion.on_stop(leaving)
        await orion.service(Shop).sell("book")
        await running.wait()

    assert order == ["left", "listener ended", "service closed"]


async def test_listeners_stop_at_the_same_time(tmp_path: Path) -> None:
    """One after the other they would take as many graces as there are, and the later ones would take in work."""
    running, released = asyncio.Barrier(3), asyncio.Barrier(2)
    together = []

    async def wait() -> None:
        await running.wait()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # Passes only if both are ended together.
            async with asyncio.timeout(10):
                await released.wait()
            together.append(True)
            raise

    @attrs.frozen
    class Hearing(ShopService):
        @on(Sold)
        async def hear(self, event: Sold) -> None:
            await wait()

    # Of another service: listeners of one share its database's one writer.
    class HearingToo(Works):
        @on(Sold)
        async def hear(self, event: Sold) -> None:
            await wait()

    shop, store = Plugin("shop", service=Hearing), Plugin("store", service=HearingToo)
    async with platform(tmp_path, shop, store, shutdown_grace=0) as orion:
        await orion.service(Shop).sell("book")
        await running.wait()
    assert len(together) == 2


async def test_what_wraps_the_application_is_told_before_the_databases_close(tmp_path: Path) -> None:
    """A gateway in front leaves first, also when the application was made before the start."""
    alive: list[str] = []

    def wrap(app: Any, host: Any) -> Any:
        async def leave() -> None:
            alive.append((await orion.databases["shop"].check()).status)

        host.on_stop(leave)
        return app

    orion = platform(tmp_path, SHOP, STORE, Plugin("front", asgi=wrap))
    orion.asgi()
    async with orion:
        pass
    async with orion:
        pass

    assert alive == ["pass", "pass"]


async def test_a_peer_that_is_not_installed_here_can_still_be_called(tmp_path: Path) -> None:
    """Its contract may come in a package of its own."""
    peers = {"store": ("http://127.0.0.1:9",)}
    orion = platform(tmp_path, peers=peers, bus_url="amqp://127.0.0.1:9", call_key=Secret(f"k:{'x' * 32}"))
    async with orion:
        with pytest.raises(Unavailable, match="store cannot be reached"):
            await orion.service(Store).take("book")


async def test_what_nobody_serves_is_unavailable_and_shown(tmp_path: Path) -> None:
    async with platform(tmp_path, SHOP) as orion:
        with pytest.raises(Unavailable, match="store is not installed") as away:
            await orion.service(Store).take("book")

        assert away.value.retry_after == 5
        assert await orion.health.all() == {"shop": "pass", "store": "warn"}


async def test_the_application_needs_an_open_platform(tmp_path: Path) -> None:
    app = platform(tmp_path, STORE).asgi()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="the platform is not open"):
            await client.get("/health/live")


async def test_nobody_is_behind_an_empty_authorization(tmp_path: Path) -> None:
    async with platform(tmp_path, STORE) as orion:
        assert await orion.actor("") == ANONYMOUS


async def test_a_database_that_cannot_be_opened_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"this is no database" * 100)

    with pytest.raises(StartRefused, match="the database of shop cannot be opened"):
        async with platform(tmp_path, SHOP, STORE):
            pass


async def test_a_plugin_given_as_a_module_is_served_beside_the_named_ones(tmp_path: Path) -> None:
    module = type(logging)("acme_store")

    @hookimpl
    def orion_plugin() -> Plugin:
        return STORE

    module.orion_plugin = orion_plugin  # type: ignore[attr-defined]

    assert set(Platform.load("users", plugins=[module], settings=Settings(data_dir=tmp_path)).served) == {
        "users",
        "store",
    }
    assert "auth" in Platform.load(plugins=[module], settings=Settings(data_dir=tmp_path)).served
