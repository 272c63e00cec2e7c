"""The context of one piece of work: who asks, under which correlation id, in which trace, until when.

It travels in a context variable, over `/_call` in a signed header, and with every event and job. Outside a request the
actor is `SYSTEM`.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal
from uuid import UUID

import attrs

from orion_core.errors import Forbidden, Unauthenticated
from orion_core.permissions import covered

ActorKind = Literal["anonymous", "user", "service", "system"]


@attrs.frozen
class Actor:
    """Who asks: nobody known, a person, a service acting by itself, or the system (command line, start-up).

    `permissions` are names ``resource:action``; one that ends in ``*`` covers all that begin alike. `session` is the
    id of the person's session, or ``key:<id>`` for an API key; `impersonator` is the id of the administrator who acts
    as this person. `originator` names who set off a chain of events, as ``user:<id>`` or ``system``. `granted` says
    that there are grants on single resources that may matter. `scopes` is what an API key is limited to, None for
    everybody else; `permissions` are narrowed to it already.
    """

    kind: ActorKind
    id: str = ""
    session: str = ""
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    originator: str = ""
    granted: bool = False
    scopes: tuple[str, ...] | None = None
    impersonator: str = ""

    @property
    def name(self) -> str:
        """``user:<id>``, ``service:<name>``, ``system`` or ``anonymous``: the form in logs, events and audit rows."""
        return f"{self.kind}:{self.id}" if self.id else self.kind

    @property
    def user_id(self) -> UUID:
        """The person's id; raises `Unauthenticated` when the actor is not a person."""
        if self.kind != "user":
            raise Unauthenticated("sign in first: this needs a user's access token")
        return UUID(self.id)

    @property
    def by_key(self) -> bool:
        """Whether an API key asks for the person."""
        return self.scopes is not None

    @property
    def trusted(self) -> bool:
        """Whether this is the platform itself and no person."""
        return self.kind in ("service", "system")

    def may(self, permission: str) -> bool:
        """Whether the actor holds `permission`, by name or by a wildcard at the end; the system may everything."""
        if self.kind == "system":
            return True
        return covered(self.permissions, permission)

    def refuse_impersonated(self) -> None:
        """Raise `Forbidden` for somebody who acts as another person: what only that person may do begins with this.

        Such are changes of credentials and factors, and whatever cannot be undone.
        """
        if self.impersonator:
            raise Forbidden("only the person themselves may do this: you are acting as somebody else")

    def require(self, permission: str) -> None:
        """Raise `Unauthenticated` for nobody and `Forbidden` for somebody who lacks `permission`."""
        if self.may(permission):
            return
        if self.kind == "anonymous":
            raise Unauthenticated("sign in first: this needs an access token")
        raise Forbidden(f"this needs the permission {permission}")


SYSTEM = Actor("system")
ANONYMOUS = Actor("anonymous")


def new_traceparent() -> str:
    """A `traceparent` of a new trace (W3C Trace Context Level 2), sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def child_traceparent(parent: str) -> str:
    """`parent` with a new parent id: the same trace, one hop further."""
    # Of a later version only what version 00 has is known, so that is what goes on (W3C Trace Context, 4.3).
    _, trace, _, flags = parent.split("-")
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"


@attrs.frozen
class Context:
    """What belongs to one request, event or job.

    `deadline` is in seconds of the event loop's monotonic clock, None for no limit. `causation_id` is the id of the
    event or job that led here, empty at the beginning of a chain. `client_ip` and `user_agent` are those of the HTTP
    request, empty outside one.
    """

    actor: Actor = SYSTEM
    correlation_id: str = attrs.field(factory=lambda: secrets.token_hex(16))
    causation_id: str = ""
    traceparent: str = attrs.field(factory=new_traceparent)
    tracestate: str = ""
    deadline: float | None = None
    client_ip: str = ""
    user_agent: str = ""

    @property
    def originator(self) -> str:
        """Who set off this chain: the actor, or the one a listener or job acts for."""
        return self.actor.originator or self.actor.name


_current: ContextVar[Context | None] = ContextVar("orion_context", default=None)


def current() -> Context:
    """The context of the running piece of work; a fresh one of the system where nobody set one."""
    context = _current.get()
    if context is None:
        context = Context()
        _current.set(context)
    return context


@contextlib.contextmanager
def use(context: Context) -> Iterator[Context]:
    """Run the block in `context`."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


@contextlib.contextmanager
def acting(actor: Actor) -> Iterator[Context]:
    """Run the block as `actor`, everything else of the context unchanged."""
    with use(attrs.evolve(current(), actor=actor)) as context:
        yield context
