"""The cross-site guard: what a browser sends with cookies by itself changes nothing unless a page of ours sent it.

A page elsewhere can make a browser send cookies, but can neither hide its origin nor add a header of its own without
asking first (ASVS 3.5.1, 3.5.2).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.errors import Forbidden, StartRefused
from orion_plugins.gateway.origins import ANY, origin_of
from orion_plugins.gateway.policies import SAFE
from orion_plugins.gateway.refusal import refuse
from orion_plugins.gateway.settings import GatewaySettings

App = Callable[[Any, Any, Any], Awaitable[None]]

_HTTP_SCHEMES = {"ws": "http", "wss": "https"}
_WANTED = frozenset({b"authorization", b"cookie", b"host", b"origin", b"x-orion-session"})


class CrossSite(Forbidden):
    """A request that cookies sign in, and that no page of ours sent."""

    code = "gateway.cross_site"


def cross_site_guard(app: App, public_url: str, settings: GatewaySettings) -> App:
    """Refuse requests that change something, and handshakes, when cookies and no Authorization came with them, unless
    their Origin is that of `public_url` (without one: of the host that was asked) or one that CORS allows by name;
    without an Origin they need the header X-Orion-Session. Raises `StartRefused` for a public URL that is none."""
    ours = {origin.encode() for origin in settings.cors_origins if origin != ANY}
    if public_url:
        try:
            ours.add(origin_of(public_url).encode())
        except ValueError as error:
            raise StartRefused([f"ORION_PUBLIC_URL: {error}"]) from error

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in SAFE):
            fields: dict[bytes, list[bytes]] = {}
            for name, value in scope["headers"]:
                if name in _WANTED:
                    fields.setdefault(name, []).append(value)
            if b"cookie" in fields and b"authorization" not in fields and not _is_ours(scope, fields):
                detail = "a request with cookies must come from a page of an allowed origin, or have X-Orion-Session"
                await refuse(scope, send, CrossSite(detail))
                return
        await app(scope, receive, send)

    def _is_ours(scope: Any, fields: dict[bytes, list[bytes]]) -> bool:
        origins = fields.get(b"origin", [])
        if not origins:
            return b"x-orion-session" in fields
        if len(origins) > 1:
            return False
        if origins[0] in ours:
            return True
        hosts = fields.get(b"host", [])
        if public_url or len(hosts) != 1:
            return False
        scheme = _HTTP_SCHEMES.get(scope["scheme"], scope["scheme"])
        return origins[0] == b"%s://%s" % (scheme.encode(), hosts[0].lower())

    return layer
