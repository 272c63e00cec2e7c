"""The token layer: a token that does not count is refused before anything is routed, proxied or looked up.

Services verify for themselves; what is served in this process is told the result, so that nothing is verified twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from orion_core.bearer import bearer_token
from orion_core.context import ANONYMOUS
from orion_core.errors import Error, Unauthenticated
from orion_core.plugin import under
from orion_core.ports.identity import Identity
from orion_core.web.guard import VERIFIED
from orion_core.web.public_routes import PublicRoutes
from orion_plugins.gateway.refusal import refuse

App = Callable[[Any, Any, Any], Awaitable[None]]


def token(app: App, identity: Identity, prefixes: Mapping[str, str], routes: Iterable[type]) -> App:
    """Verify the bearer token of each request that has one.

    Under `prefixes`, the paths of services, one that does not count is answered with 401, and with 503 when that cannot
    be decided. Those of `routes` that are open to anybody are so for whoever holds an old token too. Elsewhere the
    Authorization header is not ours to judge.
    """
    open_to_all = PublicRoutes(routes)
    verify = identity.verify

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            for name, _ in scope["headers"]:
                if name == b"authorization":
                    break
            else:
                await app(scope, receive, send)
                return
            try:
                found = bearer_token(scope["headers"])
                actor = ANONYMOUS if found is None else await verify(found)
                scope["orion_user"] = actor.id
            except Error as error:
                if under(prefixes, scope["path"]) is not None and not _passes(scope, error):
                    await refuse(scope, send, error)
                    return
                actor = ANONYMOUS
            scope[VERIFIED] = actor
        await app(scope, receive, send)

    def _passes(scope: Any, error: Error) -> bool:
        method = scope.get("method", "")
        return method == "OPTIONS" or (isinstance(error, Unauthenticated) and open_to_all.covers(method, scope["path"]))

    return layer
