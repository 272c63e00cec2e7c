"""The pytest plugin: the fixture `orion`, and async tests that use it.

::

    async def test_a_registered_person_has_a_profile(orion):
        person = await orion.sign_up(name="Ada")
        await orion.settle()
        ...

    @pytest.mark.reaches("local", "wire", "processes")            # the same body, each way of calling
    @pytest.mark.orion(services=["auth"], plugins=[my_plugin], settings={"port": 1})
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orion_core.testing.orion import Orion, Reach
    from orion_core.testing.processes import Processes

REACHES = ("local", "wire", "processes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "reaches(*names): run in these reaches: local, wire, processes")
    config.addinivalue_line("markers", "orion(services, plugins, settings): what the `orion` fixture consists of")
    config.addinivalue_line("markers", "processes: runs real processes on PostgreSQL, Redis and RabbitMQ")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("reaches")
    if marker is not None and "orion" in metafunc.fixturenames:
        params = [
            pytest.param(reach, marks=pytest.mark.processes) if reach == "processes" else reach for reach in marker.args
        ]
        metafunc.parametrize("orion", params, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    runner = pyfuncitem.funcargs.get("orion_runner")
    if not isinstance(runner, asyncio.Runner) or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own caller does
    runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def orion_runner() -> Iterator[asyncio.Runner]:
    """The event loop in which the test and its platform run."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def orion(request: pytest.FixtureRequest, orion_runner: asyncio.Runner, tmp_path: Path) -> Iterator[Orion]:
    """A running platform for this test: see `orion_core.testing.Orion`."""
    reach: Reach = getattr(request, "param", "local")
    if reach == "processes":
        processes: Processes = request.getfixturevalue("orion_processes")
        orion_runner.run(processes.connect())
        try:
            yield processes
        finally:
            orion_runner.run(processes.disconnect())
        return
    from orion_core.testing.in_process import InProcess

    marker = request.node.get_closest_marker("orion")
    options: dict[str, Any] = dict(marker.kwargs) if marker else {}
    kit = InProcess(tmp_path / "orion", options.pop("services", ()), reach=reach, **options)
    orion_runner.run(kit.__aenter__())
    try:
        yield kit
    finally:
        orion_runner.run(kit.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def orion_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """One process per service on PostgreSQL, Redis and RabbitMQ, started once per test session."""
    from orion_core.testing.processes import Processes

    # Webhooks may reach receivers of tests, and all tests share one address.
    env = {
        "ORION_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ORION_AUTH_FAILURES_PER_ADDRESS": "1000000",
        "ORION_AUTH_MAILS_PER_MINUTE": "1000000",
        "ORION_AUTH_MAILS_PER_HOUR": "1000000",
    }
    with Processes(tmp_path_factory.mktemp("processes"), env=env) as processes:
        yield processes
