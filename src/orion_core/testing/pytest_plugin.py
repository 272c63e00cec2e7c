"""The pytest plugin: the fixture `orion`, and async tests that use it.

::

    async def test_a_registered_person_has_a_profile(orion):
        person = await orion.sign_up(name="Ada")
        await orion.settle()
        ...

    @pytest.mark.reaches("local", "wire", "processes")            # the same body, each way of calling
    @pytest.mark.orion(services=["auth"], plugins=[my_plugin], settings={"port": 1})

A test that runs in processes too cannot count on being alone, and starting a platform takes longer than most tests:
such tests share a platform in the other reaches as well, one for each reach and marker. They run together, before the
rest. Any other test has a platform of its own.
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
    from orion_core.testing.shared import SharedPlatform

REACHES = ("local", "wire", "processes")

_SHARED: dict[str, SharedPlatform] = {}
"""The platform that is shared now, by what `_sharing` says of its tests: one at most, as a process holds only one."""


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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    together: dict[str, list[pytest.Item]] = {}
    for item in items:
        together.setdefault(_sharing(item), []).append(item)
    others = together.pop("", [])
    items[:] = [*(item for group in together.values() for item in group), *others]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close the shared platform behind the last test that uses it."""
    after = "" if nextitem is None else _sharing(nextitem)
    for key in [key for key in _SHARED if key != after]:
        _SHARED.pop(key).close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    runner = pyfuncitem.funcargs.get("orion_runner")
    if not isinstance(runner, asyncio.Runner) or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own caller does
    runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def orion_runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """The event loop in which the test and its platform run."""
    if key := _sharing(request.node):
        yield _shared(key, request.node).runner
        return
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def orion(request: pytest.FixtureRequest, orion_runner: asyncio.Runner, tmp_path: Path) -> Iterator[Orion]:
    """A running platform for this test: see `orion_core.testing.Orion`."""
    reach = _reach(request.node)
    if reach == "processes":
        processes: Processes = request.getfixturevalue("orion_processes")
        orion_runner.run(processes.connect())
        try:
            yield processes
        finally:
            orion_runner.run(processes.disconnect())
        return
    if key := _sharing(request.node):
        kit = _shared(key, request.node).kit
        yield kit
        # Nothing goes on between two tests: what this one left to be done would be late in the next.
        orion_runner.run(kit.settle())
        return
    from orion_core.testing.in_process import InProcess

    options = _options(request.node)
    own = InProcess(tmp_path / "orion", options.pop("services", ()), reach=reach, **options)
    orion_runner.run(own.__aenter__())
    try:
        yield own
    finally:
        orion_runner.run(own.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def orion_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """One process per service on PostgreSQL, Redis and RabbitMQ, started once per test session."""
    from orion_core.testing.processes import Processes
    from orion_core.testing.shared import MANY_TESTS

    with Processes(tmp_path_factory.mktemp("processes"), env=MANY_TESTS) as processes:
        yield processes


def _reach(item: pytest.Item) -> Reach:
    spec = getattr(item, "callspec", None)
    found: Reach = spec.params.get("orion", "local") if spec else "local"
    return found


def _options(item: pytest.Item) -> dict[str, Any]:
    marker = item.get_closest_marker("orion")
    return dict(marker.kwargs) if marker else {}


def _sharing(item: pytest.Item) -> str:
    """Which platform the test shares with others, empty for none."""
    marker, reach = item.get_closest_marker("reaches"), _reach(item)
    if marker is None or "processes" not in marker.args or reach == "processes":
        return ""
    if "orion" not in getattr(item, "fixturenames", ()):
        return ""
    return f"{reach} {sorted(_options(item).items())!r}"


def _shared(key: str, item: pytest.Item) -> SharedPlatform:
    from orion_core.testing.shared import SharedPlatform

    if key not in _SHARED:
        reach = _reach(item)
        assert reach != "processes", "these are shared by `orion_processes`"
        _SHARED[key] = SharedPlatform(reach, _options(item))
    return _SHARED[key]
