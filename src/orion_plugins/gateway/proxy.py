"""The ASGI application that hands a request to an upstream and its answer to the client, as bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, TypeAlias
from urllib.parse import quote

from orion_core.context import current
from orion_core.errors import Malformed
from orion_core.web import access_log
from orion_plugins.gateway.circuit import Circuit
from orion_plugins.gateway.client import (
    Body,
    BodyMismatch,
    ClientGone,
    ClientSlow,
    Headers,
    Response,
    Transport,
    Unsendable,
    UpstreamError,
)
from orion_plugins.gateway.fallback import Fallback, Kept
from orion_plugins.gateway.headers import CREDENTIALS, content_length, to_client, to_upstream
from orion_plugins.gateway.request import Request
from orion_plugins.gateway.upstream_problems import (
    Receive,
    RequestLate,
    Scope,
    Send,
    UpstreamFailed,
    answer,
    content_type,
    is_problem,
    refusal,
)

WebSockets: TypeAlias = Callable[[Scope, Receive, Send, bytes, Headers], Awaitable[None]]
"""Serves one WebSocket whose handshake has been received, given the target and the fields for the upstream."""

_EVENTS: Final = b"text/event-stream"
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Proxy:
    """Answers HTTP requests and WebSockets by asking `upstream`, which is called `service` towards clients.

    Method, path and query go on as received, but for the beginning `strip` of the path; bodies stream in both
    directions, a 5xx that is not problem+json gets a body of ours. When the client leaves, the call is given up. When
    the upstream fails before its answer began, the client gets what `fallback` has, else a problem document; when it
    fails later, the exception leaves this application, and the server has to close the connection, so that no short
    answer looks whole. A head has `timeout` seconds to come; a stream of events may then last as long as it is not
    silent. `websockets` serves WebSockets; without it they are refused.

    It expects that the context is the request's: the address of the client is the one found there (G10), and that of
    the peer only where there is none. The scheme in the scope is taken as it is. Authorization and Cookie go on only if
    the scope names them in `orion_credentials` (G13). For the access log it leaves in the scope: `orion_upstream_ms`
    until the head, `orion_retries`, and `orion_breaker`, the state of `circuit` after it.
    """

    def __init__(
        self,
        upstream: Transport,
        *,
        service: str,
        circuit: Circuit | None = None,
        fallback: Fallback | None = None,
        strip: str = "",
        timeout: float | None = None,
        websockets: WebSockets | None = None,
    ) -> None:
        self._upstream = upstream
        self._service = service
        self._circuit = circuit
        self._fallback = fallback
        self._strip = strip.encode("ascii")
        self._timeout = timeout
        self._websockets = websockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection of type http or websocket."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"the proxy serves http and websocket, not {scope['type']}")
        try:
            request = await self._request(scope, receive)
            response = await self._ask(scope, request)
        except ClientGone:
            return
        except ClientSlow:
            await answer(scope, send, RequestLate("the body did not arrive in time: send it without pauses"))
            return
        except Unsendable:
            await answer(scope, send, Malformed("the request cannot be forwarded as it was sent"))
            return
        except UpstreamError as error:
            await answer(scope, send, refusal(self._service, error))
            return
        try:
            if response.status >= 500 and not isinstance(response, Kept) and not is_problem(response.headers):
                await self._replace(scope, send, response)
            else:
                await _relay(send, response)
        except ClientGone:
            return
        finally:
            if not response.ended:
                response.abort()

    async def _request(self, scope: Scope, receive: Receive) -> Request:
        headers: Headers = scope["headers"]
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
        deadline = current().deadline
        if self._timeout is not None:
            own = asyncio.get_running_loop().time() + self._timeout
            deadline = own if deadline is None else min(own, deadline)
        return Request(
            scope["method"], self._target(scope), _forwarded(scope), body, length, _Departure(receive), deadline
        )

    async def _ask(self, scope: Scope, request: Request) -> Response:
        began = perf_counter()
        retries = 0
        try:
            response = await request.send(self._upstream)
            retries = response.retries
        except UpstreamError as error:
            retries = error.retries
            found = None if self._fallback is None else await self._fallback.answer(scope, request, error)
            if found is None:
                raise
            return found
        finally:
            scope[access_log.UPSTREAM_MS] = (perf_counter() - began) * 1000
            scope[access_log.RETRIES] = retries
            if self._circuit is not None:
                scope[access_log.BREAKER] = self._circuit.state
        return response

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # the handshake
        if self._websockets is None:
            await send({"type": "websocket.close", "code": 1011})
            return
        await self._websockets(scope, receive, send, self._target(scope), _forwarded(scope))

    async def _replace(self, scope: Scope, send: Send, response: Response) -> None:
        error = UpstreamFailed(f"the service {self._service} failed")
        kept = [field for field in to_client(response.headers, response.status) if field[0] == b"retry-after"]
        await answer(scope, send, error, status=response.status, extra=kept)

    def _target(self, scope: Scope) -> bytes:
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
        if self._strip:
            if not path.startswith(self._strip):  # a letter of it came encoded
                path = quote(scope["path"]).encode("ascii")
            path = path.removeprefix(self._strip) or b"/"
        query: bytes = scope.get("query_string", b"")
        return path + b"?" + query if query else path


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


def _forwarded(scope: Scope) -> list[tuple[bytes, bytes]]:
    context = current()
    headers: Headers = scope["headers"]
    client = scope.get("client")
    return to_upstream(
        headers,
        client=context.client_ip or (client[0] if client else "unknown"),
        scheme=_SCHEMES[scope["scheme"]],
        host=next((value for name, value in headers if name == b"host"), b""),
        request_id=context.correlation_id,
        traceparent=context.traceparent,
        tracestate=context.tracestate,
        credentials=scope.get(CREDENTIALS, ()),
    )


async def _relay(send: Send, response: Response) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": to_client(response.headers, response.status),
        }
    )
    if not response.ended and content_type(response.headers) == _EVENTS:
        response.unhurried()
    more = True
    while more:
        part = await response.read()
        more = not response.ended
        await send({"type": "http.response.body", "body": part, "more_body": more})
