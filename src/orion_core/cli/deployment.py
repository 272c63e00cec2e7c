"""What ``orion run --split`` is about to start: services, ports, and the settings that its processes share."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import attrs

from orion_core import composition
from orion_core.cli.configured import LOCAL_HOSTS, Configured
from orion_core.cli.migrate import opened
from orion_core.cli.running_split import RunningSplit
from orion_core.errors import Error, StartRefused
from orion_core.keyring import Keyring
from orion_core.migrate import pending
from orion_core.platform import Platform
from orion_core.plugin import Plugin
from orion_core.serve import bind
from orion_core.settings import Settings, from_env

BASE = 3000
"""The gateway's port; those of the other services are as far from it as their plugins say."""
_OWN = ("ORION_PORT", "ORION_DATA_DIR", "ORION_LOG_LEVEL", "ORION_LOG_FORMAT")


@attrs.frozen
class Deployment:
    """One process for each of `names`, with its port; `environment` is what all of them are told."""

    names: tuple[str, ...]
    ports: Mapping[str, int]
    urls: Mapping[str, str]
    environment: Mapping[str, str] = attrs.field(repr=False)


def plan(found: Configured, services: Sequence[str], env: Mapping[str, str] | None = None) -> Deployment:
    """A deployment of `services`, all if none; makes the keys that are not set. Raises `StartRefused`."""
    env = os.environ if env is None else env
    settings = found.settings
    plugins = found.discovery.plugins
    names = tuple(composition.chosen(found.discovery, services))
    _refuse_what_one_process_keeps(found, names)
    ports = ports_of(plugins, settings.port or BASE)
    urls = {name: found.url(port) for name, port in ports.items()}
    shared = {
        name: text
        for name, text in env.items()
        if name.startswith("ORION_") and not name.startswith("ORION_TEST_") and name not in _OWN
    }
    shared["ORION_HOST"] = settings.host
    if not settings.call_key:
        shared["ORION_CALL_KEY"] = f"split:{secrets.token_urlsafe(32)}"
    if not settings.keyring and _is_local(settings):
        path = settings.data_dir.absolute() / "keyring.json"
        Keyring.load_or_create(path)
        shared["ORION_KEYRING"] = str(path)
    peers = {**{name: (url,) for name, url in urls.items()}, **settings.peers}
    shared["ORION_PEERS"] = ",".join(f"{name}={'|'.join(at)}" for name, at in peers.items())
    if not settings.services:
        shared["ORION_SERVICES"] = ",".join(plugins)
    made = Deployment(names, ports, urls, shared)
    _compose_each(found, made, env)
    return made


def ports_of(plugins: Mapping[str, Plugin], base: int) -> dict[str, int]:
    """The port of every plugin; those that name none come a hundred after `base`."""
    nameless = [name for name, plugin in plugins.items() if not plugin.port]
    return {
        name: base + (plugin.port - BASE if plugin.port else 100 + nameless.index(name))
        for name, plugin in plugins.items()
    }


async def refuse_what_is_not_ready(found: Configured, deployment: Deployment) -> None:
    """Raise `StartRefused` for ports in use, databases that are away, and pending migrations."""
    problems: list[str] = []
    for name in deployment.names:
        try:
            bind(found.settings.host, deployment.ports[name]).close()
        except StartRefused as refused:
            problems += [f"{name}: {problem}" for problem in refused.problems]
    waiting: list[str] = []

    async def look(name: str) -> None:
        try:
            async with opened(found, name) as (db, apps):
                if await pending(db, apps):
                    waiting.append(name)
        except (Error, OSError) as error:
            problems.append(f"the database of {name} cannot be opened: {error}")

    keeping = [name for name in deployment.names if composition.has_database(found.discovery.plugins[name])]
    await asyncio.gather(*(look(name) for name in keeping))
    if waiting:
        lacking = ", ".join(name for name in keeping if name in waiting)
        problems.append(f"migrations are pending in {lacking}; apply them with: orion migrate up")
    if problems:
        raise StartRefused(problems)


def _refuse_what_one_process_keeps(found: Configured, names: Sequence[str]) -> None:
    settings = found.settings
    problems = []
    running = RunningSplit.find(settings.data_dir)
    if running is not None:
        where = settings.data_dir.absolute()
        problems.append(f"a split runs on {where} already (pid {running.pid}): stop it, or set ORION_DATA_DIR")
    keeping = [name for name in names if composition.has_database(found.discovery.plugins[name])]
    if any(settings.database(name).startswith("sqlite:") for name in keeping):
        problems.append(
            "--split needs a database server: set ORION_DATABASE_URL=postgresql://user:password@host/database"
        )
    if settings.bus_url.startswith("embedded:"):
        problems.append("--split needs a broker between processes: set ORION_BUS_URL=amqp://user:password@host/")
    if problems:
        raise StartRefused(problems)


def _compose_each(found: Configured, made: Deployment, env: Mapping[str, str]) -> None:
    settings = from_env(found.discovery, env={**env, **made.environment})
    problems: list[str] = []
    for name in made.names:
        try:
            Platform(found.discovery, [name], settings)
        except StartRefused as refused:
            problems += refused.problems
    if problems:
        raise StartRefused(list(dict.fromkeys(problems)))


def _is_local(settings: Settings) -> bool:
    return not settings.public_url or (urlsplit(settings.public_url).hostname or "") in LOCAL_HOSTS
