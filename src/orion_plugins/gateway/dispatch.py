"""Dispatch: what is served in this process is called in this process, what is served elsewhere is proxied as bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.plugin import Host, under
from orion_plugins.gateway.pool import Pool
from orion_plugins.gateway.proxy import Proxy
from orion_plugins.gateway.replicas import Replicas
from orion_plugins.gateway.settings import GatewaySettings

App = Callable[[Any, Any, Any], Awaitable[None]]


def dispatch(app: App, host: Host, settings: GatewaySettings) -> App:
    """Hand each request to `app`, or to the peer that serves its path; a peer may have several URLs."""
    proxies: dict[str, Proxy] = {}
    for name, urls in host.settings.peers.items():
        if name in host.served:
            continue
        pools = [
            Pool(
                url,
                limit=settings.connections,
                connect_timeout=settings.connect_timeout,
                idle_timeout=settings.idle_timeout,
            )
            for url in urls
        ]
        for pool in pools:
            host.on_stop(pool.aclose)
        proxies[name] = Proxy(Replicas(pools), service=name)
    elsewhere = {prefix: name for prefix, name in host.prefixes.items() if name in proxies}

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        name = under(elsewhere, scope["path"]) if scope["type"] in ("http", "websocket") else None
        if name is None:
            await app(scope, receive, send)
            return
        scope["orion_upstream"] = name
        await proxies[name](scope, receive, send)

    return layer if elsewhere else app
