"""The layer between routing and handler: reads the bearer token and enforces the route's access rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs

from orion_core.bearer import bearer_token
from orion_core.context import ANONYMOUS, Actor, Context, current, use
from orion_core.errors import Error, Forbidden, NotFound, StartRefused, Unauthenticated
from orion_core.permissions import covered, own_scope
from orion_core.ports.identity import Identity
from orion_core.web.access import OPT, STREAMS, AccessRule, takes_api_keys
from orion_core.web.asgi import App, Receive, Scope, Send, answer_problem

VERIFIED = "orion_actor"
"""Where in the scope an outer layer leaves whom the token of the request stands for: `ANONYMOUS` for a token that does
not count. What is not there has not been verified yet."""
Denied = Callable[[Context, str, str], Awaitable[None]]
"""Is told of a signed-in person who lacks a permission: the context, the path and the permission."""
_NO_PAGE = "/schema/{path}"


def guard(app: App, identity: Identity, denied: Denied | None = None) -> App:
    """Wrap `app`, which Litestar has routed to already, so that it runs as the caller or not at all."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        rule = scope["route_handler"].opt.get(OPT)
        if rule is None:
            # Litestar's own: the API pages, and its page of its own for what is none of them.
            if scope.get("path_template") == _NO_PAGE:
                await _refuse(scope, send, NotFound("there is no such page: the API page is at /schema"))
            else:
                await app(scope, receive, send)
            return
        context = current()
        if scope["route_handler"].opt.get(STREAMS):
            # The server looks here for how long the body may take.
            scope[STREAMS] = True
            context = attrs.evolve(context, deadline=None)
        try:
            actor = scope[VERIFIED] if VERIFIED in scope else await _caller(scope, identity)
            if actor.kind != "anonymous":
                if actor.by_key:
                    _check_key(actor, scope, rule)
                context = attrs.evolve(context, actor=actor)
                scope["orion_user"] = actor.id
            elif rule.signed_in:
                raise Unauthenticated("sign in first: send the header Authorization: Bearer <access token>")
            if rule.permission and not context.actor.may(rule.permission):
                if denied is not None:
                    await denied(context, scope["path"], rule.permission)
                context.actor.require(rule.permission)
        except Error as error:
            # A public route works with whatever token: nobody is signed in by one that does not count there.
            if rule.signed_in or not isinstance(error, Unauthenticated | Forbidden):
                await _refuse(scope, send, error)
                return
        with use(context):
            await app(scope, receive, send)

    return layer


async def _caller(scope: Scope, identity: Identity) -> Actor:
    token = bearer_token(scope["headers"])
    return await identity.verify(token) if token else ANONYMOUS


def _check_key(actor: Actor, scope: Scope, rule: AccessRule) -> None:
    """Raise `Forbidden` where an API key may not go.

    Where a permission is asked for, its scopes have to hold that, which is looked at for everybody. Everywhere else a
    person is about what belongs to them.
    """
    if not takes_api_keys(scope.get("path_template") or scope["path"], scope["route_handler"].opt):
        raise Forbidden("an API key cannot do this: sign in")
    needed = own_scope(scope.get("method", "GET") in ("GET", "HEAD"))
    if not rule.permission and not covered(actor.scopes or (), needed):
        raise Forbidden(f"the API key needs the scope {needed}")


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
