"""The reaches `local` and `wire`: a whole platform in this process, no socket opened, in well under a second."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Self, TypeVar

import httpx

from orion_core import composition
from orion_core.adapters import choose
from orion_core.contract import Contract
from orion_core.migrate import up
from orion_core.platform import Platform, Reach
from orion_core.plugin import Plugin
from orion_core.settings import Settings
from orion_core.testing import engines
from orion_core.testing.clock import MovableClock
from orion_core.testing.fake import Answer, fake_call
from orion_core.testing.orion import Orion

C = TypeVar("C", bound=Contract)
T = TypeVar("T")

QUICK: Mapping[str, Any] = {
    "retry_delays": (0.01, 0.02, 0.03),
    "relay_interval": 0.05,
    "synchronous": "NORMAL",
    "limits_url": "none:",
}
"""Settings fit for tests: short delays, no waiting for the disk, and no rate limits for the one client there is."""


class InProcess(Orion):
    """A platform of the plugins `names` (all installed ones if none) and `plugins`, with `settings` changed."""

    _templates: ClassVar[dict[tuple[str, str], Path]] = {}

    def __init__(
        self,
        folder: Path,
        names: Iterable[str] = (),
        *,
        reach: Reach = "local",
        plugins: Iterable[Plugin | ModuleType] = (),
        settings: Mapping[str, Any] | None = None,
        clock: MovableClock | None = None,
    ) -> None:
        self.reach = reach
        self.clock = clock or MovableClock()
        self.folder = folder
        self.mail_folder = folder / "mail"
        chosen = Settings(**{**QUICK, "data_dir": folder, **(settings or {})})
        self.platform = Platform.load(*names, settings=chosen, plugins=plugins, clock=self.clock, reach=reach)
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._prepare()
        await self._stack.enter_async_context(self.platform)
        transport = httpx.ASGITransport(app=self.platform.asgi(), raise_app_exceptions=False)  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(transport=transport, base_url="http://orion.test")
        await self._stack.enter_async_context(self.http)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _prepare(self) -> None:
        """Begin with databases that are migrated already: once per plugin and test run is enough."""
        if self.platform.settings.durable_elsewhere:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, plugin in self.platform.plugins.items():
            if composition.has_database(plugin) and not (self.folder / f"{name}.db").exists():
                shutil.copy(await self._template(plugin), self.folder / f"{name}.db")

    async def _template(self, plugin: Plugin) -> Path:
        # Two plugins of one name may bring different tables.
        key = (plugin.name, plugin.migrations)
        if key not in self._templates:
            folder = Path(tempfile.mkdtemp(prefix="orion-template-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            db = await choose.open_database(Settings(data_dir=folder, synchronous="NORMAL"), plugin.name)
            try:
                await up(db, composition.migration_apps(plugin))
            finally:
                await db.aclose()
            self._templates[key] = folder / f"{plugin.name}.db"
        return self._templates[key]

    def service(self, contract: type[C]) -> C:
        return self.platform.service(contract)

    def fake(self, contract: type[Contract], **answers: Answer) -> None:
        """From now on answer `contract` with functions, values or exceptions instead of its service."""
        self.platform.replace(contract, fake_call(contract, answers))

    async def settle(self) -> None:
        async def idle() -> bool:
            offset_ms = int(self.clock.offset.total_seconds() * 1000)
            waiting = [await engines.open_work(db, offset_ms) for db in self.platform.databases.values()]
            return not any(waiting)

        self.platform.wake()
        await engines.until(idle, "settling")

    async def told(self, cls: type[T]) -> list[T]:
        return await engines.told(self.platform.databases, cls)

    async def advance(self, by: timedelta) -> None:
        self.clock.advance(by)
        self.platform.wake()
