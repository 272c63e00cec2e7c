"""The outermost layer of every host: request id, trace, client address, access log, and no unhandled error.

X-Request-ID is taken over if it is harmless, else replaced; it is on every response, in every log line, event and job
that follows. A valid `traceparent` keeps its trace.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence

import attrs

from orion_core.context import ANONYMOUS, Context, child_traceparent, new_traceparent, use
from orion_core.contracts.platform import PROXIED
from orion_core.request_timeout import parse_request_timeout
from orion_core.web import access_log
from orion_core.web.asgi import App, Message, Receive, Scope, Send, answer_failure, header, joined
from orion_core.web.client_ip import Network, client_ip, is_trusted

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
        status = sent = 0
        request_id = context.correlation_id.encode()

        async def tagged(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                kept = [pair for pair in message["headers"] if pair[0].lower() != b"x-request-id"]
                message = {**message, "headers": [*kept, (b"x-request-id", request_id)]}
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        with use(context):
            try:
                await app(scope, receive, tagged)
            except Exception as error:
                if status:
                    # Too late for an answer: the server must cut the connection, so that nobody takes it for whole.
                    raise
                await answer_failure(scope, tagged, error)
            finally:
                took_ms = (time.perf_counter() - began) * 1000
                status = scope.get(access_log.REFUSED) or status or 499
                if measure is not None and not scope["path"].startswith(access_log.PROBES):
                    route = PROXIED if access_log.UPSTREAM in scope else scope.get("path_template", "")
                    measure(route, scope["method"], status, took_ms)
                access_log.write(scope, context, status, sent, took_ms)

    return layer


def _context(scope: Scope, trusted: Sequence[Network]) -> Context:
    asked = header(scope, b"x-request-id")
    traceparent = header(scope, b"traceparent")
    valid = TRACEPARENT.fullmatch(traceparent)
    parent = child_traceparent(traceparent) if valid else new_traceparent()
    peer = scope["client"][0] if scope.get("client") else ""
    left = TOTAL
    if is_trusted(peer, trusted):
        # Never more than our own limit; and never from just anybody: with no time at all a stranger could make calls
        # time out by the dozen, until the breakers in front of services open for everybody.
        left = min(TOTAL, parse_request_timeout(header(scope, b"x-request-timeout")) or TOTAL)
    return Context(
        actor=ANONYMOUS,
        # Without an id from the client the trace's own id serves, so that one search finds both.
        correlation_id=asked if REQUEST_ID.fullmatch(asked) else parent.split("-")[1],
        traceparent=parent,
        tracestate=header(scope, b"tracestate")[:512] if valid else "",
        deadline=asyncio.get_running_loop().time() + left,
        client_ip=client_ip(peer, joined(scope, b"x-forwarded-for"), trusted),
        user_agent=header(scope, b"user-agent")[:512],
    )
