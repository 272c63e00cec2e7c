"""The gateway's pipeline: plain ASGI layers, outermost first.

::

    edge (of every host: request id, trace, access log, problems) → path guard → HTTPS → CORS → cross-site guard
    → size limit → rate limit by address → token → rate limit by user → response cache → API documents
    → dispatch: in process, or (upstreams.py) proxy → fallback → header rules → breaker → retry → replicas → pool
"""

from __future__ import annotations

from typing import Any

from orion_core.plugin import Host
from orion_plugins.gateway.body_limit import body_limit
from orion_plugins.gateway.cors import cors
from orion_plugins.gateway.dispatch import dispatch
from orion_plugins.gateway.documents import documents
from orion_plugins.gateway.https import https
from orion_plugins.gateway.origin import cross_site_guard
from orion_plugins.gateway.paths import path_guard
from orion_plugins.gateway.rate_by_address import rate_by_address
from orion_plugins.gateway.rate_by_user import rate_by_user
from orion_plugins.gateway.response_cache import response_cache
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.token import token


def pipeline(app: Any, host: Host) -> Any:
    """Wrap `app`, the routes of this host, in the layers above."""
    settings = host.settings.of("gateway", GatewaySettings)
    routes = [route for plugin in host.installed.values() for route in plugin.routes]
    app = dispatch(app, host, settings)
    app = documents(app, host)
    app = response_cache(app, host, settings)
    app = rate_by_user(app, host.limits, settings)
    app = token(app, host.identity, host.prefixes, routes)
    app = rate_by_address(app, host.limits, settings)
    app = body_limit(app, host.route_table, otherwise=host.settings.max_body)
    app = cross_site_guard(app, host.settings.public_url, settings)
    app = cors(app, settings)
    app = https(app, host.settings)
    return path_guard(app)
