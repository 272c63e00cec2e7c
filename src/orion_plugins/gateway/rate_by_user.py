"""The limit by person, for callers whose token counts (G20)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.ports.limits import Limits
from orion_core.web.guard import VERIFIED
from orion_plugins.gateway.policies import policy
from orion_plugins.gateway.refusal import refuse_rate
from orion_plugins.gateway.settings import GatewaySettings

App = Callable[[Any, Any, Any], Awaitable[None]]


def rate_by_user(app: App, limits: Limits, settings: GatewaySettings) -> App:
    """Count every request of a person by the person's id, from whichever address; OPTIONS is free (G23)."""
    chosen = policy("user", settings.user_limit)
    spend = limits.spend

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        actor = scope.get(VERIFIED)
        if actor is None or actor.kind == "anonymous" or scope.get("method") == "OPTIONS":
            await app(scope, receive, send)
            return
        verdict = await spend(chosen, actor.name)
        if verdict.allowed:
            await app(scope, receive, send)
        else:
            await refuse_rate(scope, send, chosen, verdict)

    return layer
