"""The ASGI application that hands a request to an upstream and its answer to the client, as bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from orion_core.context import current
from orion_core.errors import DeadlineExceeded, Error, Malformed, Unavailable, problem
from orion_plugins.gateway.client import (
    Body,
    BodyMismatch,
    ClientGone,
    Headers,
    Response,
    Transport,
    Unsendable,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from orion_plugins.gateway.headers import content_length, to_client, to_upstream

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_PROBLEM: Final = b"application/problem+json"


class UpstreamAway(Unavailable):
    """No connection to the service could be had; nothing of the request reached it."""

    code = "gateway.upstream_unreachable"
    title = "Upstream unreachable"


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


class Proxy:
    """Answers HTTP requests by asking `upstream`, which is called `service` towards clients.

    Method, path and query go on as received, bodies stream in both directions, a 5xx that is not problem+json gets a
    body of ours. When the client leaves, the call is given up. When the upstream fails before its answer began, the
    client gets a problem document; when it fails later, the exception leaves this application, and the server has to
    close the connection, so that no short answer looks whole.

    It expects that the context is the request's: the address of the client is the one found there (G10), and that of
    the peer only where there is none. The scheme in the scope is taken as it is.
    """

    def __init__(self, upstream: Transport, *, service: str) -> None:
        self._upstream = upstream
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection of type http; a WebSocket is refused."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1011})
            return
        if scope["type"] != "http":
            raise ValueError(f"the proxy serves http, not {scope['type']}")
        try:
            response = await self._ask(scope, receive)
        except ClientGone:
            return
        except Unsendable:
            await _answer(scope, send, Malformed("the request cannot be forwarded as it was sent"))
            return
        except UpstreamError as error:
            await _answer(scope, send, self._failure(error))
            return
        try:
            if response.status >= 500 and not _is_problem(response.headers):
                await self._replace(scope, send, response)
            else:
                await _relay(send, response)
        except ClientGone:
            return
        finally:
            if not response.ended:
                response.abort()

    async def _ask(self, scope: Scope, receive: Receive) -> Response:
        context = current()
        headers: Headers = scope["headers"]
        client = scope.get("client")
        forwarded = to_upstream(
            headers,
            client=context.client_ip or (client[0] if client else "unknown"),
            scheme=scope["scheme"],
            host=next((value for name, value in headers if name == b"host"), b""),
            request_id=context.correlation_id,
            traceparent=context.traceparent,
            tracestate=context.tracestate,
        )
        length = content_length(headers)
        body: Body = b""
        if length != 0:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("the client left")
            first: bytes = message.get("body", b"")
            if message.get("more_body", False):
                body = _Parts(first, receive)
            elif length is not None and len(first) != length:
                raise BodyMismatch("the body is not as long as its content-length")
            else:
                body = first
        return await self._upstream.send(
            scope["method"],
            _target(scope),
            forwarded,
            body,
            length=length,
            gone=_Departure(receive),
            deadline=context.deadline,
        )

    def _failure(self, error: UpstreamError) -> Error:
        # The error itself may tell an address: it is for the log, never for the client.
        if isinstance(error, UpstreamUnreachable):
            return UpstreamAway(f"the service {self._service} cannot be reached")
        if isinstance(error, UpstreamTimeout):
            return UpstreamLate(f"the service {self._service} gave no answer in time", retry_after=None)
        return BadUpstream(f"the service {self._service} gave no usable answer")

    async def _replace(self, scope: Scope, send: Send, response: Response) -> None:
        error = UpstreamFailed(f"the service {self._service} failed")
        kept = [field for field in to_client(response.headers, response.status) if field[0] == b"retry-after"]
        await _answer(scope, send, error, status=response.status, extra=kept)


class _Parts:
    """The request body, part by part, from the ASGI `receive`; not a generator, which would need closing."""

    __slots__ = ("_first", "_more", "_receive")

    def __init__(self, first: bytes, receive: Receive) -> None:
        self._first: bytes | None = first
        self._more = True
        self._receive = receive

    def __aiter__(self) -> _Parts:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if not self._more:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left")
        self._more = message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


class _Departure:
    """Waits until the client is gone; parts of a body that nobody wants any more are dropped meanwhile."""

    __slots__ = ("_receive",)

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def __call__(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _is_problem(headers: Headers) -> bool:
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return kind.split(b";", 1)[0].strip().lower() == _PROBLEM


async def _relay(send: Send, response: Response) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": to_client(response.headers, response.status),
        }
    )
    more = True
    while more:
        part = await response.read()
        more = not response.ended
        await send({"type": "http.response.body", "body": part, "more_body": more})


async def _answer(scope: Scope, send: Send, error: Error, *, status: int | None = None, extra: Headers = ()) -> None:
    document = problem(error)
    if status is not None:
        document["status"] = status
    document["instance"] = quote(scope["path"])
    document["request_id"] = current().correlation_id
    body = json.dumps(document).encode()
    headers = [
        (b"content-type", _PROBLEM),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    await send({"type": "http.response.start", "status": status or error.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
