"""The gateway's pipeline: plain ASGI layers, outermost first.

::

    edge (of every host: request id, trace, access log, problems) → path guard → dispatch: in process, or proxy
"""

from __future__ import annotations

from typing import Any

from orion_core.plugin import Host
from orion_plugins.gateway.dispatch import dispatch
from orion_plugins.gateway.paths import path_guard
from orion_plugins.gateway.settings import GatewaySettings


def pipeline(app: Any, host: Host) -> Any:
    """Wrap `app`, the routes of this host, in the layers above."""
    return path_guard(dispatch(app, host, host.settings.of("gateway", GatewaySettings)))
