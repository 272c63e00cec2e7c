"""The outermost layer of every host: request id, trace, client address, access log, and no unhandled error.

X-Request-ID is taken over if it is harmless, else replaced; it is on every response, in every log line, event and job
that follows. A valid `traceparent` keeps its trace.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence

import attrs

from orion_core.context import ANONYMOUS, Context, child_traceparent, new_traceparent, use
from orion_core.contracts.platform import PROXIED
from orion_core.errors import Error, Internal
from orion_core.web.asgi import App, Message, Receive, Scope, Send, answer_problem, header, joined
from orion_core.web.client_ip import Network, client_ip

log = logging.getLogger("orion.access")
faults = logging.getLogger("orion.web")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TOTAL = 60.0
"""Seconds that the work of one request may take, streams excepted."""
Measure = Callable[[str, str, int, float], None]
"""Counts a request by route template, method, status and milliseconds."""


def edge(app: App, trusted: Sequence[Network], measure: Measure | None = None) -> App:
    """Wrap `app` in the layer; `trusted` are the networks whose X-Forwarded-For is believed.

    `measure` is told of every request but probes, with an empty template where no route took it.
    """

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # It lasts longer than a request. Without a context of its own it would act as the system.
            with use(attrs.evolve(_context(scope, trusted), deadline=None)):
                await app(scope, receive, send)
            return
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        context = _context(scope, trusted)
        began = time.perf_counter()
        status = 0
        request_id = context.correlation_id.encode()

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                kept = [pair for pair in message["headers"] if pair[0].lower() != b"x-request-id"]
                message = {**message, "headers": [*kept, (b"x-request-id", request_id)]}
            await send(message)

        with use(context):
            try:
                await app(scope, receive, tagged)
            except Error as error:
                if status:
                    raise
                await answer_problem(scope, tagged, error)
            except Exception:
                if status:
                    # Too late for an answer: the server must cut the connection, so that nobody takes it for whole.
                    raise
                faults.exception("%s %s failed", scope["method"], scope["path"])
                await answer_problem(scope, tagged, Internal("something went wrong on our side"))
            finally:
                took_ms = (time.perf_counter() - began) * 1000
                # A probe every few seconds would bury the requests.
                probe = scope["path"].startswith("/health")
                if measure is not None and not probe:
                    route = PROXIED if "orion_upstream" in scope else scope.get("path_template", "")
                    measure(route, scope["method"], status or 499, took_ms)
                log.log(
                    logging.DEBUG if probe else logging.INFO,
                    "request",
                    extra={
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status or 499,
                        "duration_ms": round(took_ms, 2),
                        "client_ip": context.client_ip,
                        "user_id": scope.get("orion_user", ""),
                        "upstream": scope.get("orion_upstream", ""),
                    },
                )

    return layer


def _context(scope: Scope, trusted: Sequence[Network]) -> Context:
    asked = header(scope, b"x-request-id")
    traceparent = header(scope, b"traceparent")
    valid = TRACEPARENT.fullmatch(traceparent)
    parent = child_traceparent(traceparent) if valid else new_traceparent()
    peer = scope["client"][0] if scope.get("client") else ""
    return Context(
        actor=ANONYMOUS,
        # Without an id from the client the trace's own id serves, so that one search finds both.
        correlation_id=asked if REQUEST_ID.fullmatch(asked) else parent.split("-")[1],
        traceparent=parent,
        tracestate=header(scope, b"tracestate")[:512] if valid else "",
        deadline=asyncio.get_running_loop().time() + TOTAL,
        client_ip=client_ip(peer, joined(scope, b"x-forwarded-for"), trusted),
        user_agent=header(scope, b"user-agent")[:512],
    )
