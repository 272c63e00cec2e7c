"""Composition: from plugins to services, by the types of their fields; what is wrong is found before the start."""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from orion_core import erasure
from orion_core.contract import Contract, modules_of, operations
from orion_core.errors import StartRefused
from orion_core.events import Events, Listener, event_type, is_event
from orion_core.jobs import Jobs
from orion_core.keyring import Keyring
from orion_core.migrate import CORE, MigrationApp
from orion_core.plugin import Catalogue, Discovery, Plugin, Services
from orion_core.ports.authorization import Authorization
from orion_core.ports.blobs import Blobs
from orion_core.ports.cache import Cache
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.ports.identity import Identity
from orion_core.ports.mail import Mail
from orion_core.ports.purge import Purge
from orion_core.settings import Settings

PORTS: tuple[type, ...] = (
    Database,
    Events,
    Jobs,
    Cache,
    Clock,
    Mail,
    Blobs,
    Purge,
    Identity,
    Authorization,
    Keyring,
    Catalogue,
    Services,
    Settings,
)

_PEER = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")

Provider = Callable[[type], Any]


def needs(plugin: Plugin) -> Mapping[str, type]:
    """The needs of the service of `plugin`: its fields with their types; raises TypeError if they cannot be read."""
    service = plugin.service
    if service is None or not attrs.has(service):
        return {}
    try:
        hints = typing.get_type_hints(service)
        return {field.name: hints[field.name] for field in attrs.fields(service) if field.init}
    except Exception as error:
        raise TypeError(
            f"the fields of {plugin.name}'s service cannot be read: {error}; import their types at module level"
        ) from error


def unreadable(plugins: Mapping[str, Plugin]) -> list[str]:
    """The services of `plugins` whose fields cannot be read, in words."""
    found = []
    for plugin in plugins.values():
        try:
            needs(plugin)
        except TypeError as error:
            found.append(str(error))
    return found


def asks(plugin: Plugin) -> tuple[type[Contract], ...]:
    """The contracts that the service of `plugin` calls."""
    return tuple(kind for kind in needs(plugin).values() if isinstance(kind, type) and issubclass(kind, Contract))


def calls(plugin: Plugin, plugins: Mapping[str, Plugin]) -> tuple[str, ...]:
    """The names of the services that the service of `plugin` calls.

    One that needs `Services` finds out at run time whom it asks: the owners of what can be searched page by page.
    """
    found = [contract.contract_name for contract in asks(plugin)]
    if Services in needs(plugin).values():
        found += [other.name for other in plugins.values() if any(each.pages for each in other.searchable)]
    return tuple(dict.fromkeys(found))


def tells(plugin: Plugin) -> tuple[str, ...]:
    """The events that the service of `plugin` may publish: those declared beside its contract."""
    contract = plugin.contract
    if contract is None:
        return ()
    own = [
        item
        for module in modules_of(contract)
        for item in vars(sys.modules[module]).values()
        if isinstance(item, type) and item.__module__ == module
    ]
    return tuple(dict.fromkeys(event_type(item).name for item in own if is_event(item)))


def has_database(plugin: Plugin) -> bool:
    """Whether `plugin` needs a database: for tables, events, jobs or listeners."""
    wanted = {Database, Events, Jobs} & set(needs(plugin).values())
    lasting = [listener for listener in plugin.listeners if not listener.broadcast]
    return bool(plugin.tables or wanted or lasting or plugin.jobs)


def hears(plugin: Plugin) -> tuple[Listener, ...]:
    """All listeners in the name of `plugin`: those of its service, and core's own where there is a database."""
    return (*plugin.listeners, *(erasure.hears(plugin.name) if has_database(plugin) else ()))


def check(discovery: Discovery, served: Mapping[str, Plugin]) -> list[str]:
    """Everything that forbids to compose `served`: clashes, cycles, needs that nothing fills, broken contracts."""
    problems = list(discovery.clashes)
    paths: dict[str, str] = {}
    for plugin in discovery.plugins.values():
        for path in plugin.paths:
            if path in paths:
                problems.append(f"the plugins {paths[path]} and {plugin.name} both claim the path {path}")
            paths[path] = plugin.name
    wrapping = [plugin.name for plugin in served.values() if plugin.asgi is not None]
    if len(wrapping) > 1:
        problems.append(f"only one plugin may wrap the application, not {' and '.join(wrapping)}")
    for plugin in served.values():
        if unreadable({plugin.name: plugin}):
            continue
        problems += _unfilled(plugin)
        for contract in dict.fromkeys(each for each in (plugin.contract, *asks(plugin)) if each is not None):
            try:
                operations(contract)
            except (TypeError, NameError) as error:
                problems.append(f"{plugin.name}: {error}")
    try:
        order(discovery.plugins)
    except ValueError as error:
        problems.append(str(error))
    return problems


def _unfilled(plugin: Plugin) -> list[str]:
    found = []
    for name, kind in needs(plugin).items():
        if isinstance(kind, type) and issubclass(kind, Contract):
            if "contract_name" not in vars(kind) or kind is Contract:
                found.append(f"{plugin.name} needs {name}: {kind.__name__}, which is no contract: name the contract")
        elif kind not in PORTS and kind is not plugin.settings:
            found.append(
                f"{plugin.name} needs {name}: {getattr(kind, '__name__', kind)}, which is neither a contract nor a "
                f"port nor its settings; ports are {', '.join(port.__name__ for port in PORTS)}"
            )
    if plugin.service is not None and not attrs.has(plugin.service) and plugin.service.__init__ is not object.__init__:
        found.append(f"{plugin.name}'s service takes arguments but is no attrs class: make its needs typed fields")
    missing: frozenset[str] = getattr(plugin.service, "__abstractmethods__", frozenset())
    if missing:
        found.append(f"{plugin.name}'s service lacks the operations {', '.join(sorted(missing))}")
    return found


def order(plugins: Mapping[str, Plugin]) -> tuple[str, ...]:
    """The names of `plugins`, those that are asked before those that ask; raises ValueError for a cycle of calls."""
    names: list[str] = []
    visiting: list[str] = []

    def visit(name: str) -> None:
        if name in names or name not in plugins:
            return
        if name in visiting:
            circle = " → ".join([*visiting[visiting.index(name) :], name])
            raise ValueError(f"services call each other in a circle: {circle}; make one of the calls an event")
        visiting.append(name)
        # One that cannot be read is reported elsewhere, if it is served at all.
        for asked in () if unreadable({name: plugins[name]}) else calls(plugins[name], plugins):
            visit(asked)
        visiting.pop()
        names.append(name)

    for name in plugins:
        visit(name)
    return tuple(names)


def bad_peers(settings: Settings) -> list[str]:
    """The peers in `settings` that cannot be called, in words."""
    found = []
    for name, urls in settings.peers.items():
        if not urls:
            found.append(f"ORION_PEERS gives no URL for {name}: write {name}=http://host:port")
        if any(not _PEER.fullmatch(url) for url in urls):
            found.append(f"ORION_PEERS: each URL of {name} must be http://host:port or https://host:port")
    return found


def construct(plugin: Plugin, provide: Provider) -> Contract:
    """The service of `plugin`, each need filled by `provide`."""
    assert plugin.service is not None
    return plugin.service(**{name: provide(kind) for name, kind in needs(plugin).items()})


def migration_apps(plugin: Plugin) -> list[MigrationApp]:
    """The migrations that the database of `plugin` needs, in order: core's, then its own."""
    own = [MigrationApp(f"orion_{plugin.name}", plugin.migrations)] if plugin.migrations else []
    return [CORE, *own]


def chosen(discovery: Discovery, names: Iterable[str]) -> dict[str, Plugin]:
    """The plugins called `names`, all if there are none; raises `StartRefused` for one that is not there."""
    wanted = list(dict.fromkeys(names))
    broken = {item.name: item.reason for item in discovery.broken}
    problems = []
    for name in wanted:
        if name in broken:
            problems.append(f"the plugin {name} cannot be loaded: {broken[name]}")
        elif name not in discovery.plugins:
            known = ", ".join(sorted(discovery.plugins)) or "none"
            problems.append(f"there is no plugin {name}; installed are {known}")
    if problems:
        raise StartRefused(problems)
    return {name: plugin for name, plugin in discovery.plugins.items() if not wanted or name in wanted}
