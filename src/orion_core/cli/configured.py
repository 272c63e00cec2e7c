"""What every command begins with: the installed plugins, and the settings of the deployment."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

import attrs

from orion_core.cli.running_split import RunningSplit
from orion_core.plugin import Discovery, discover
from orion_core.settings import Settings, from_env

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1", "")


@attrs.frozen
class Configured:
    """The installed plugins, the settings, and the `orion run --split` that lives on the same data folder, if any."""

    discovery: Discovery
    settings: Settings
    split: RunningSplit | None

    def port(self, *services: str) -> int:
        """Where a process with `services` (all if none) listens."""
        if self.settings.port:
            return self.settings.port
        if len(services) == 1:
            if self.split is not None and services[0] in self.split.ports:
                return self.split.ports[services[0]]
            plugin = self.discovery.plugins.get(services[0])
            return (plugin.port if plugin else 0) or 3000
        return 3000

    def url(self, port: int) -> str:
        """Where this machine reaches `port`."""
        host = self.settings.host
        reached = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not listened on
        return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


@functools.cache
def discovered() -> Discovery:
    """The installed plugins, looked for once in a process."""
    return discover()


def configured(env: Mapping[str, str] | None = None, *, joining: bool = True) -> Configured:
    """Read the settings from `env` (the process's environment), orion.toml and, if `joining`, a split that runs on the
    same data folder; raises `StartRefused`."""
    env = os.environ if env is None else env
    discovery = discovered()
    settings = from_env(discovery, env=env)
    split = RunningSplit.find(settings.data_dir) if joining else None
    if split is not None:
        settings = from_env(discovery, env=env, split=split.environment)
    return Configured(discovery, settings, split)
