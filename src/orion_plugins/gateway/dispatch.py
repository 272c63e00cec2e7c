"""Dispatch: what is served in this process is called in this process, what is served elsewhere is proxied as bytes."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orion_core.errors import StartRefused
from orion_core.plugin import Host, under
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.upstreams import Upstream

App = Callable[[Any, Any, Any], Awaitable[None]]

RESERVED = ("/health", "/_call", "/schema")
"""What every host answers itself, beside the prefixes of its services."""


def dispatch(app: App, host: Host, settings: GatewaySettings) -> App:
    """Hand each request to `app`, or to the peer or configured upstream that serves its path.

    Raises `StartRefused` for an upstream whose name or prefix is that of a service.
    """
    now = functools.partial(_seconds, host)
    try:
        peers = {
            name: Upstream.of_peer(name, urls, settings, now)
            for name, urls in host.settings.peers.items()
            if name not in host.served
        }
    except ValueError as error:
        raise StartRefused([f"ORION_PEERS: {error}"]) from error
    if clashing := clashes(settings, host.prefixes, host.settings.peers):
        raise StartRefused(clashing)
    configured = {name: Upstream(name, spec, settings, now, peer=False) for name, spec in settings.upstreams.items()}
    for upstream in configured.values():
        upstream.fall_back(configured)
    upstreams = {**peers, **configured}
    for name, upstream in upstreams.items():
        host.on_stop(upstream.aclose)
        host.watch(f"upstream {name}", upstream.check)
    prefixes = {**host.prefixes, **{upstream.prefix: name for name, upstream in configured.items()}}

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        name = under(prefixes, scope["path"]) if scope["type"] in ("http", "websocket") else None
        # A path may be of a service of this process, of which no upstream knows.
        upstream = upstreams.get(name) if name is not None else None
        if upstream is None:
            await app(scope, receive, send)
            return
        await upstream(scope, receive, send)

    return layer if upstreams else app


def clashes(settings: GatewaySettings, services: Mapping[str, str], peers: Mapping[str, object]) -> list[str]:
    """The configured upstreams that would take something from a service or from the host, in words."""
    found = []
    names = {*services.values(), *peers}
    taken = {**dict.fromkeys(RESERVED, "every host itself"), **services}
    for name, spec in settings.upstreams.items():
        where = f"gateway.upstreams.{name}"
        if name in names:
            found.append(f"{where}: there is a service of that name; choose another name")
        owner = under(taken, spec.prefix)
        if owner is not None:
            found.append(f"{where}.prefix: {spec.prefix} belongs to {owner}; choose a path that nobody answers")
    return found


def _seconds(host: Host) -> float:
    """The time for breakers: the machine's, which never runs backwards, ahead of it as the clock of a test is."""
    return time.monotonic() + host.clock.offset.total_seconds()
