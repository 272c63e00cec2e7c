"""What a client is told when an upstream gave no answer that can be handed on: problem documents, no addresses."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from orion_core.context import current
from orion_core.errors import DeadlineExceeded, Error, Unavailable, problem
from orion_plugins.gateway.client import BreakerOpen, Headers, UpstreamError, UpstreamTimeout, UpstreamUnreachable

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

PROBLEM: Final = b"application/problem+json"


class UpstreamAway(Unavailable):
    """No connection to the service could be had; nothing of the request reached it."""

    code = "gateway.upstream_unreachable"
    title = "Upstream unreachable"


class UpstreamResting(Unavailable):
    """The service failed too often and is left alone for a while; nothing of the request reached it."""

    code = "gateway.breaker_open"
    title = "Upstream resting"


class UpstreamLate(DeadlineExceeded):
    """The service gave no answer in time."""

    code = "gateway.upstream_timeout"
    title = "Upstream timeout"


class BadUpstream(Error):
    """The service gave no answer, or none that could be understood; answers 502."""

    status = 502
    code = "gateway.bad_upstream"
    title = "Bad upstream"


class UpstreamFailed(Error):
    """The service answered with a 5xx that says nothing a client should read; the status is kept."""

    code = "gateway.upstream_error"
    title = "Upstream error"


class RequestLate(Error):
    """The client did not send its body in time; answers 408."""

    status = 408
    code = "gateway.request_timeout"
    title = "Request timeout"


def refusal(service: str, error: UpstreamError) -> Error:
    """`error` in words for clients of `service`: the error itself may tell an address, so it is for logs only."""
    if isinstance(error, BreakerOpen):
        return UpstreamResting(
            f"the service {service} is not well and gets no requests for now", retry_after=error.retry_after
        )
    if isinstance(error, UpstreamUnreachable):
        return UpstreamAway(f"the service {service} cannot be reached")
    if isinstance(error, UpstreamTimeout):
        return UpstreamLate(f"the service {service} gave no answer in time", retry_after=None)
    return BadUpstream(f"the service {service} gave no usable answer")


async def answer(scope: Scope, send: Send, error: Error, *, status: int | None = None, extra: Headers = ()) -> None:
    """Answer `error` as problem+json, with another `status` and `extra` headers if given.

    A WebSocket is answered before it is accepted, or closed where the server cannot do that.
    """
    document = problem(error)
    if status is not None:
        document["status"] = status
    if error.retry_after is not None:
        document["retry_after"] = max(1, math.ceil(error.retry_after))
    document["instance"] = quote(scope["path"])
    document["request_id"] = current().correlation_id
    body = json.dumps(document).encode()
    headers = [
        (b"content-type", PROBLEM),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % document["retry_after"]))
    await respond(scope, send, status or error.status, headers, b"" if scope.get("method") == "HEAD" else body)


async def respond(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Answer with `body`, whatever kind of connection was asked for."""
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            # Closed before it was accepted, a WebSocket is answered with 403.
            await send({"type": "websocket.close", "code": 1011})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def is_problem(headers: Headers) -> bool:
    """Whether an answer with `headers` is problem+json."""
    return content_type(headers) == PROBLEM


def content_type(headers: Headers) -> bytes:
    """The media type in `headers`, in lower case and without parameters; empty if there is none."""
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return kind.split(b";", 1)[0].strip().lower()
