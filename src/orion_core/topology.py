"""Who serves, calls, tells and hears what: read from the manifests of plugins, without starting anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from orion_core import composition
from orion_core.contracts.auth import AccessChanged, SessionRevoked
from orion_core.contracts.auth_access import RoleChanged
from orion_core.contracts.auth_api_keys import ApiKeyRevoked
from orion_core.events import event_type
from orion_core.outside import LeadsOutside, Outside
from orion_core.plugin import Plugin
from orion_core.settings import Settings

HEARD_BY_HOSTS = tuple(event_type(cls).name for cls in (SessionRevoked, AccessChanged, RoleChanged, ApiKeyRevoked))
"""What every host hears, whatever it serves: it drops what it remembers about sessions and API keys."""


@attrs.frozen
class Heard:
    """One listener: its queue, and the events bound to it; none means every event."""

    queue: str
    events: tuple[str, ...]
    broadcast: bool = False


@attrs.frozen
class Node:
    """One service: the contract it keeps, the public paths it answers under, and what it asks, tells and hears."""

    name: str
    contract: str | None
    port: int
    paths: tuple[str, ...]
    asks: tuple[str, ...]
    tells: tuple[str, ...]
    hears: tuple[Heard, ...]


@attrs.frozen
class Told:
    """An event on its way from the service that tells it to one that hears it."""

    event: str
    teller: str
    hearer: str


@attrs.frozen
class Topology:
    """The services by name, in alphabetical order."""

    nodes: Mapping[str, Node]
    outside: Mapping[str, tuple[Outside, ...]] = attrs.field(factory=dict)
    """By service, the servers outside of the platform that it forwards requests to."""

    @property
    def calls(self) -> tuple[tuple[str, str], ...]:
        """Who calls whom, as pairs; the graph has no cycle."""
        return tuple((node.name, asked) for node in self.nodes.values() for asked in node.asks)

    @property
    def events(self) -> tuple[Told, ...]:
        """Every way of an event from a teller to a hearer."""
        return tuple(
            Told(event, teller.name, hearer.name)
            for teller in self.nodes.values()
            for event in teller.tells
            for hearer in self.nodes.values()
            if any(event in heard.events or not heard.events for heard in hearer.hears)
        )

    @property
    def unheard(self) -> tuple[str, ...]:
        """Events that nobody listens to."""
        heard = {*HEARD_BY_HOSTS, *(told.event for told in self.events)}
        return tuple(event for node in self.nodes.values() for event in node.tells if event not in heard)

    def as_plain(self) -> dict[str, Any]:
        """The topology as JSON types."""
        return {
            "services": {name: attrs.asdict(node) for name, node in self.nodes.items()},
            "calls": [{"from": asker, "to": asked} for asker, asked in self.calls],
            "events": [{"event": told.event, "from": told.teller, "to": told.hearer} for told in self.events],
            "unheard": list(self.unheard),
            "outside": [{"from": name, **attrs.asdict(each)} for name, found in self.outside.items() for each in found],
        }

    def mermaid(self) -> str:
        """The topology as a Mermaid flowchart: solid arrows are calls, dotted ones events, thick ones lead outside."""
        lines = ["flowchart LR"]
        lines += [f"    {_id(name)}[{name}]" for name in self.nodes]
        absent = dict.fromkeys(asked for _, asked in self.calls if asked not in self.nodes)
        lines += [f'    {_id(name)}["{name} (not installed)"]:::absent' for name in absent]
        lines += [f"    {_id(asker)} -->|asks| {_id(asked)}" for asker, asked in self.calls]
        between: dict[tuple[str, str], list[str]] = {}
        for told in self.events:
            between.setdefault((told.teller, told.hearer), []).append(told.event)
        for (teller, hearer), events in between.items():
            lines.append(f'    {_id(teller)} -.->|"{"<br/>".join(events)}"| {_id(hearer)}')
        for name, found in self.outside.items():
            for number, each in enumerate(found):
                lines.append(f'    o_{name}_{number}(["{each.name}"])')
                lines.append(f'    {_id(name)} ==>|"{each.prefix}"| o_{name}_{number}')
        if absent:
            lines.append("    classDef absent stroke-dasharray: 4 4")
        return "\n".join(lines)


def topology(plugins: Mapping[str, Plugin], settings: Settings | None = None) -> Topology:
    """The topology of `plugins`; with `settings`, what they forward to outside of the platform as well."""
    nodes = {name: _node(plugin, plugins) for name, plugin in sorted(plugins.items())}
    return Topology(nodes, {} if settings is None else outside(plugins, settings))


def outside(plugins: Mapping[str, Plugin], settings: Settings) -> Mapping[str, tuple[Outside, ...]]:
    """By plugin, the servers outside of the platform that requests are forwarded to."""
    found: dict[str, tuple[Outside, ...]] = {}
    for name, plugin in plugins.items():
        own = None if plugin.settings is None else settings.of(name, plugin.settings)
        if isinstance(own, LeadsOutside) and (leads := own.outside()):
            found[name] = leads
    return found


def _node(plugin: Plugin, plugins: Mapping[str, Plugin]) -> Node:
    hears = tuple(Heard(each.queue, each.names, each.broadcast) for each in plugin.listeners)
    return Node(
        name=plugin.name,
        contract=plugin.contract.__name__ if plugin.contract else None,
        port=plugin.port,
        paths=tuple(plugin.paths) if plugin.routes else tuple(plugin.prefixes),
        asks=composition.calls(plugin, plugins),
        tells=composition.tells(plugin),
        hears=hears,
    )


def _id(name: str) -> str:
    # "end" and a few others are words of Mermaid itself.
    return f"s_{name}"
