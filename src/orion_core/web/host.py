"""The layers around the routes of one host, and its lifespan.

::

    edge → health and calls → the gateway's pipeline, if served → services that are away → routes
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from orion_core.calls import PREFIX
from orion_core.errors import NotFound, Unavailable
from orion_core.plugin import under
from orion_core.web.asgi import App, Message, Receive, Scope, Send
from orion_core.web.route_table import RouteTable

log = logging.getLogger("orion.web")

HEALTH = ("/health", "/health/live", "/health/ready", "/health/startup")


def without(app: App, away: Mapping[str, str]) -> App:
    """`app`, with 503 instead of 404 under the prefixes in `away`, whose services are known but not reachable here."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        name = under(away, scope["path"]) if scope["type"] == "http" else None
        if name is not None:
            raise Unavailable(f"the service {name} is not served here", retry_after=5)
        await app(scope, receive, send)

    return layer if away else app


def plain(app: App, table: RouteTable) -> App:
    """`app`, with 404 for a path with a slash at its end, but for routes in `table` that take the rest of a path.

    Litestar takes ``/p/`` for ``/p``, a second spelling that every rule about paths would have to know.
    """

    def second_spelling(scope: Scope) -> bool:
        path: str = scope["path"]
        if not path.endswith("/") or path == "/" or scope["type"] != "http":
            return False
        route = table.find(scope["method"], path)
        return route is None or not route.open_ended

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if second_spelling(scope):
            raise NotFound("there is nothing at this path: leave out the slash at its end")
        await app(scope, receive, send)

    return layer


def with_fixed(app: App, health: App, calls: App | None) -> App:
    """`app` behind the paths that every host answers itself: its health, and calls from other hosts."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "http" and path in HEALTH:
            await health(scope, receive, send)
        elif scope["type"] == "http" and calls is not None and path.startswith(PREFIX):
            await calls(scope, receive, send)
        else:
            await app(scope, receive, send)

    return layer


def unmounted(scope: Scope) -> Scope:
    """`scope` as if the application stood at the root: other frameworks mount it under a `root_path`."""
    root = scope.get("root_path") or ""
    if not root or not scope["path"].startswith(root):
        return scope
    raw, prefix = scope.get("raw_path") or b"", root.encode("latin-1", "replace")
    path = {"path": scope["path"][len(root) :] or "/", "raw_path": raw.removeprefix(prefix) or b"/"}
    return {**scope, "root_path": "", **path}


async def run_lifespan(opened: AbstractAsyncContextManager[object], receive: Receive, send: Send) -> None:
    """Serve the lifespan scope of ASGI: hold `opened` from start-up to shutdown."""
    await receive()
    try:
        await opened.__aenter__()
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    try:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    finally:
        # Also when the server ends this task instead of saying so.
        problem = await _closed(opened)
    await send(problem or {"type": "lifespan.shutdown.complete"})


async def _closed(opened: AbstractAsyncContextManager[object]) -> Message | None:
    try:
        await opened.__aexit__(None, None, None)
    except Exception as error:
        log.exception("the platform did not close in order")
        return {"type": "lifespan.shutdown.failed", "message": str(error)}
    return None
