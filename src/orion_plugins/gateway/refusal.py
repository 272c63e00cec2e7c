"""How a layer refuses a request or the handshake of a WebSocket."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orion_core.errors import Error, TooMany
from orion_core.ports.limits import Policy, Verdict
from orion_core.web.asgi import answer_problem


class RateLimited(TooMany):
    """More requests than the policy allows; Retry-After says when the next one will be taken."""

    code = "gateway.rate_limited"


async def refuse(scope: Any, send: Any, error: Error, headers: Mapping[str, str] | None = None) -> None:
    """Answer `error` as problem+json; a handshake is answered so where the server can do that, else with 403."""
    if scope["type"] == "http":
        await answer_problem(scope, send, error, headers)
    elif "websocket.http.response" in (scope.get("extensions") or {}):

        async def to_handshake(message: Any) -> None:
            await send({**message, "type": f"websocket.{message['type']}"})

        await answer_problem(scope, to_handshake, error, headers)
    else:
        # Closed before it was accepted, a WebSocket is answered with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": error.detail[:120]})


async def refuse_rate(scope: Any, send: Any, policy: Policy, verdict: Verdict) -> None:
    """Answer 429 with Retry-After, RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11)."""
    wait = max(1, math.ceil(verdict.wait))
    error = RateLimited(f"too many requests: wait {wait} s before the next one", retry_after=wait)
    headers = {
        "ratelimit-policy": f'"{policy.name}";q={policy.quota};w={policy.window}',
        "ratelimit": f'"{policy.name}";r=0;t={wait}',
    }
    await refuse(scope, send, error, headers)
