"""The path guard: spellings that could mean one path to the router and another to an upstream are refused (G4)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.errors import Malformed

App = Callable[[Any, Any, Any], Awaitable[None]]

_ENCODED = (b"%00", b"%2f", b"%5c")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_UNREADABLE = "\ufffd"
"""What servers decode bytes to that are no UTF-8, such as a dot or slash in more bytes than it needs."""


def path_guard(app: App) -> App:
    """Refuse, before routing and authorisation, a path that is not in its one plain form."""

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and ambiguous(scope["path"], scope.get("raw_path") or b""):
            if scope["type"] == "http":
                raise Malformed(
                    "the path must be in its plain form: no //, no . or .. segments, no encoded slash, no control "
                    "character, and percent signs only before two digits of UTF-8"
                )
            # Closed before it was accepted, a WebSocket is answered with 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        await app(scope, receive, send)

    return layer


def ambiguous(path: str, raw_path: bytes) -> bool:
    """Whether `path`, decoded once, could be read in two ways."""
    if "//" in path or "\\" in path or not path.startswith("/"):
        return True
    # Nearly every path ends here: it has no escape and no segment of dots.
    if b"%" in raw_path and _escapes_badly(path, raw_path):
        return True
    if "/." not in path:
        return _CONTROL.search(path) is not None
    # Some servers read a segment up to its semicolon only.
    segments = [segment.partition(";")[0] for segment in path.split("/")]
    return "." in segments or ".." in segments or _CONTROL.search(path) is not None


def _escapes_badly(path: str, raw_path: bytes) -> bool:
    lowered = raw_path.lower()
    return (
        any(part in lowered for part in _ENCODED)
        or _BAD_PERCENT.search(raw_path) is not None
        or (_UNREADABLE in path and b"%ef%bf%bd" not in lowered)
    )
