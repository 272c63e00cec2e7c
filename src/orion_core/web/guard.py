"""The layer between routing and handler: reads the bearer token and enforces the route's access rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from orion_core.bearer import bearer_token
from orion_core.context import current, use
from orion_core.errors import Error, StartRefused, Unauthenticated
from orion_core.ports.identity import Identity
from orion_core.web.access import OPT, STREAMS, AccessRule
from orion_core.web.asgi import App, Receive, Scope, Send, answer_problem


def guard(app: App, identity: Identity) -> App:
    """Wrap `app`, which Litestar has routed to already, so that it runs as the caller or not at all."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        rule = scope["route_handler"].opt.get(OPT)
        if rule is None:
            # Litestar's own: the API pages.
            await app(scope, receive, send)
            return
        context = current()
        if scope["route_handler"].opt.get(STREAMS):
            context = attrs.evolve(context, deadline=None)
        try:
            token = bearer_token(scope["headers"])
            if token:
                context = attrs.evolve(context, actor=await identity.verify(token))
                scope["orion_user"] = context.actor.id
            elif rule.signed_in:
                raise Unauthenticated("sign in first: send the header Authorization: Bearer <access token>")
            if rule.permission:
                context.actor.require(rule.permission)
        except Error as error:
            # A public route works with whatever token: nobody is signed in by one that does not count.
            if rule.signed_in or not isinstance(error, Unauthenticated):
                await _refuse(scope, send, error)
                return
        with use(context):
            await app(scope, receive, send)

    return layer


async def _refuse(scope: Scope, send: Send, error: Error) -> None:
    if scope["type"] == "websocket":
        # Closed before it was accepted, a WebSocket is answered with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": error.detail[:120]})
    else:
        await answer_problem(scope, send, error)


def check_rules(handlers: Iterable[tuple[str, Any]]) -> None:
    """Refuse routes that do not say who may use them; raises `StartRefused` with all of them."""
    silent = [
        f"{where} declares no access: give it opt=public(), opt=signed_in() or opt=needs('resource:action')"
        for where, handler in handlers
        if not isinstance(handler.opt.get(OPT), AccessRule)
    ]
    if silent:
        raise StartRefused(silent)
