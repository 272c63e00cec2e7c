"""HTTPS in production: plain HTTP is refused and never redirected, since the secret has been sent by then (G90)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from orion_core.errors import Forbidden
from orion_core.production import in_production
from orion_core.settings import Settings
from orion_core.web.asgi import joined
from orion_core.web.client_ip import is_trusted, networks
from orion_plugins.gateway.refusal import refuse

App = Callable[[Any, Any, Any], Awaitable[None]]

HSTS: Final = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
"""Two years (RFC 6797)."""
_SECURE: Final = {"http": "https", "ws": "wss"}


class HttpsRequired(Forbidden):
    """The request came unencrypted, and whatever secret it had is no longer one."""

    code = "gateway.https_required"


def https(app: App, settings: Settings) -> App:
    """Take over the scheme that a trusted proxy names in X-Forwarded-Proto; in production, refuse what came without
    TLS, and tell browsers to use nothing else (Strict-Transport-Security)."""
    trusted = networks(settings.trusted_proxies)
    strict = in_production(settings)

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        if trusted and scope["scheme"] in _SECURE and _came_by_https(scope):
            scope["scheme"] = _SECURE[scope["scheme"]]
        if not strict:
            await app(scope, receive, send)
        elif scope["scheme"] in _SECURE:
            await refuse(scope, send, HttpsRequired(f"use https: {settings.public_url} is served over TLS alone"))
        else:

            async def told(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], HSTS]}
                await send(message)

            await app(scope, receive, told)

    def _came_by_https(scope: Any) -> bool:
        peer = scope["client"][0] if scope.get("client") else ""
        said = [part.strip().lower() for part in joined(scope, b"x-forwarded-proto").split(",")]
        # One proxy in a chain that was spoken to in plain HTTP is enough to doubt.
        return is_trusted(peer, trusted) and all(each == "https" for each in said)

    return layer if strict or trusted else app
