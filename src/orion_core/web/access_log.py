"""The access log: one line for each request (G61), and the scope keys through which layers tell what belongs into it.

Whoever knows something writes it into the scope; the outermost layer logs it when the request is over. A line holds no
query, no header and no body.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from orion_core.context import Context

log = logging.getLogger("orion.access")

UPSTREAM = "orion_upstream"
"""The service or configured upstream that the request was handed to."""
UPSTREAM_MS = "orion_upstream_ms"
"""Milliseconds until the head of its answer had come."""
CACHE = "orion_cache"
"""What the response cache did: hit, miss, stale, bypass."""
RETRIES = "orion_retries"
"""How many times the request was sent again."""
BREAKER = "orion_breaker"
"""The state of the upstream's circuit breaker: closed, open or half_open."""
USER = "orion_user"
"""The id of the person whose token was verified."""
TEMPLATE = "orion_template"
"""The template of a route that is served elsewhere; a route served here tells its own."""
REFUSED = "orion_refused"
"""The status that the server gave past the application, because the request was never whole."""

PROBES = "/health"


def template_of(scope: Mapping[str, Any]) -> str:
    """The template of the route that took the request, empty where none did."""
    template: str = scope.get("path_template") or scope.get(TEMPLATE) or ""
    return template


def write(scope: Mapping[str, Any], context: Context, status: int, sent: int, took_ms: float) -> None:
    """Log one request that was answered with `status` and `sent` bytes of body after `took_ms` milliseconds.

    A probe every few seconds would bury the requests, so probes are logged for debugging only.
    """
    upstream_ms = scope.get(UPSTREAM_MS)
    log.log(
        logging.DEBUG if scope["path"].startswith(PROBES) else logging.INFO,
        "request",
        extra={
            "request_id": context.correlation_id,
            "method": scope["method"],
            "route": template_of(scope),
            "path": scope["path"],
            "status": status,
            "bytes": sent,
            "duration_ms": round(took_ms, 2),
            "upstream": scope.get(UPSTREAM, ""),
            "upstream_ms": None if upstream_ms is None else round(upstream_ms, 2),
            "cache": scope.get(CACHE, ""),
            "retries": scope.get(RETRIES, 0),
            "breaker": scope.get(BREAKER, ""),
            "user_id": scope.get(USER, ""),
            "client_ip": context.client_ip,
        },
    )
