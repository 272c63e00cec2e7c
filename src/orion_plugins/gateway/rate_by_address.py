"""The limit by address, before anything is known of the caller (G20)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.context import current
from orion_core.ports.limits import Limits
from orion_plugins.gateway.address_key import address_key
from orion_plugins.gateway.policies import by_route, policy
from orion_plugins.gateway.refusal import refuse_rate
from orion_plugins.gateway.settings import GatewaySettings

App = Callable[[Any, Any, Any], Awaitable[None]]


def rate_by_address(app: App, limits: Limits, settings: GatewaySettings) -> App:
    """Count every request by the address of its client; attempts to log in, to reset a password and to pass a second
    factor are counted apart, and more strictly."""
    choose = by_route(
        policy("address", settings.address_limit),
        tuple(
            (path, policy(name, text))
            for name, text, paths in (
                ("login", settings.login_limit, settings.login_paths),
                ("reset", settings.reset_limit, settings.reset_paths),
                ("mfa", settings.mfa_limit, settings.mfa_paths),
            )
            for path in paths
        ),
    )
    spend = limits.spend

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        chosen = choose(scope)
        verdict = await spend(chosen, address_key(current().client_ip))
        if verdict.allowed:
            await app(scope, receive, send)
        else:
            await refuse_rate(scope, send, chosen, verdict)

    return layer
