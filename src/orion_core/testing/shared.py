"""A platform that tests share, one after the other."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orion_core.platform import Reach
from orion_core.plugin import discover
from orion_core.settings import load
from orion_core.testing.in_process import InProcess

MANY_TESTS: Mapping[str, str] = {
    # Webhooks may reach receivers of tests, and all tests share one address.
    "ORION_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
    "ORION_AUTH_FAILURES_PER_ADDRESS": "1000000",
    "ORION_AUTH_MAILS_PER_MINUTE": "1000000",
    "ORION_AUTH_MAILS_PER_HOUR": "1000000",
}
"""Settings of a platform that many tests use."""


class SharedPlatform:
    """A platform in this process with an event loop of its own, `options` being those of `InProcess`."""

    def __init__(self, reach: Reach, options: Mapping[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="orion-shared-"))
        settings = dict(options.get("settings") or {})
        settings["plugins"] = {**_plugins(), **settings.get("plugins", {})}
        others = {name: value for name, value in options.items() if name not in ("services", "settings")}
        self.kit = InProcess(
            self._folder / "orion", options.get("services", ()), reach=reach, settings=settings, **others
        )
        self.runner = asyncio.Runner()
        try:
            self.runner.run(self.kit.__aenter__())
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Stop the platform and forget what it stored."""
        try:
            self.runner.run(self.kit.__aexit__(None, None, None))
        finally:
            self._end()

    def _end(self) -> None:
        self.runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _plugins() -> Mapping[str, Any]:
    kinds = {name: plugin.settings for name, plugin in discover().plugins.items()}
    known = {key: value for key, value in MANY_TESTS.items() if key.split("_")[1].lower() in kinds}
    return load(known, kinds).plugins
