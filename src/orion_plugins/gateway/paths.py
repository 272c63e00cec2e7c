"""The path guard: spellings that could mean one path to the router and another to an upstream are refused (G4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.errors import Malformed

App = Callable[[Any, Any, Any], Awaitable[None]]

_ENCODED = (b"%00", b"%2f", b"%5c")


def path_guard(app: App) -> App:
    """Refuse, before routing and authorisation, a path that is not in its one plain form."""

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and ambiguous(scope["path"], scope.get("raw_path") or b""):
            if scope["type"] == "http":
                raise Malformed(
                    "the path must be in its plain form: no //, no . or .. segments, no encoded slash or NUL"
                )
            # Closed before it was accepted, a WebSocket is answered with 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        await app(scope, receive, send)

    return layer


def ambiguous(path: str, raw_path: bytes) -> bool:
    """Whether `path`, decoded once, could be read in two ways."""
    lowered = raw_path.lower()
    if any(part in lowered for part in _ENCODED) or "//" in path or "\\" in path or "\x00" in path:
        return True
    return any(segment in (".", "..") for segment in path.split("/"))
