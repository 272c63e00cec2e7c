"""The size limit: bytes of a request body are counted as they stream, whatever the head says of them (G40)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.errors import TooLarge
from orion_core.web.access import COOKIES, STREAMS
from orion_core.web.access_log import TEMPLATE
from orion_core.web.route_table import RouteTable

App = Callable[[Any, Any, Any], Awaitable[None]]


def body_limit(app: App, table: RouteTable, *, otherwise: int) -> App:
    """Let no more bytes of a body through to `app` than its route in `table` takes, or than `otherwise` without one.

    Raises `TooLarge`: at once for a Content-Length beyond the limit, else on the byte after it, so that what is behind
    never sees more. It also tells the layers behind what the route declares, through the scope.
    """

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        route = table.find(method, path) or (table.find("GET", path) if method == "HEAD" else None)
        limit: int | None = otherwise
        if route is not None:
            limit = route.max_body
            scope[TEMPLATE] = route.template
            if route.streams:
                scope[STREAMS] = True
            if route.cookies:
                scope[COOKIES] = True
        if limit is None:
            await app(scope, receive, send)
            return
        announced = _announced(scope)
        if announced > limit:
            raise _too_large(limit)
        await app(scope, _Counted(receive, limit) if announced else receive, send)

    return layer


class _Counted:
    """A `receive` that gives up beyond `limit` bytes."""

    __slots__ = ("_left", "_limit", "_receive")

    def __init__(self, receive: Any, limit: int) -> None:
        self._receive = receive
        self._limit = self._left = limit

    async def __call__(self) -> Any:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._limit)
        return message


def _announced(scope: Any) -> int:
    """The length that the head announces, 0 for no body, and 1 for a body whose length nobody knows."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return 1
        if name == b"content-length" and value.isdigit() and value != b"0":
            return int(value)
    # From HTTP/2 on a body needs no header.
    return 0 if scope.get("http_version", "1.1") in ("1.0", "1.1") else 1


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than this route takes: send at most {limit} bytes")
