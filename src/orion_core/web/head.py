"""HEAD on every route that has GET: the same answer without its body (RFC 9110, 9.3.2)."""

from __future__ import annotations

from orion_core.web.asgi import App, Message, Receive, Scope, Send
from orion_core.web.route_table import RouteTable


def with_head(app: App, table: RouteTable) -> App:
    """`app`, asked for GET where `table` has no route of its own for HEAD but one for GET."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not _only_get(table, scope["path"]):
            await app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message.get("body"):
                message = {**message, "body": b""}
            await send(message)

        # A copy, since the server leaves bodies out by the method it finds in its own; what layers tell of the request
        # goes back into that.
        asked: Scope = {**scope, "method": "GET"}
        try:
            await app(asked, receive, bodiless)
        finally:
            scope.update({**asked, "method": "HEAD"})

    return layer


def _only_get(table: RouteTable, path: str) -> bool:
    return table.find("HEAD", path) is None and table.find("GET", path) is not None
