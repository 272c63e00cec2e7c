"""WebSockets through the gateway: a handshake with the upstream, then messages both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from websockets.http11 import Response as Handshake

from orion_core.errors import Malformed
from orion_core.web import access_log
from orion_plugins.gateway.address import Address
from orion_plugins.gateway.circuit import Circuit
from orion_plugins.gateway.client import (
    Headers,
    PoolFull,
    Unsendable,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from orion_plugins.gateway.header_rules import HeaderRules
from orion_plugins.gateway.headers import to_client
from orion_plugins.gateway.replicas import Replicas
from orion_plugins.gateway.upstream_problems import (
    Receive,
    Scope,
    Send,
    UpstreamFailed,
    answer,
    is_problem,
    refusal,
    respond,
)
from orion_plugins.gateway.websocket_link import ABNORMAL, GOING_AWAY, NO_STATUS, WebSocketLink

BEAT: Final = 20.0
_OWN: Final = b"sec-websocket-"
_BAD_GATEWAY: Final = 1014


class WebSocketRelay:
    """Serves WebSockets of clients by one of its own to the upstream, at most `limit` at once.

    The handshake goes to the replica whose turn it is, on to the next only if that cannot be reached; it passes the
    breaker but is never repeated. A refusal reaches the client with its status and body. After that each message goes
    on when it is whole, `max_message` bytes at most from the upstream, and the next one is not taken before the last
    one is handed over. A close goes on with its code and reason; an upstream that ends without one is 1014 for the
    client, a client that ends without one is 1001 for the upstream.
    """

    def __init__(
        self,
        service: str,
        addresses: Sequence[Address],
        replicas: Replicas,
        circuit: Circuit,
        *,
        limit: int,
        max_message: int,
        connect_timeout: float,
        timeout: float,
        rules: HeaderRules | None = None,
        beat: float = BEAT,
    ) -> None:
        self._service = service
        self._addresses = tuple(addresses)
        self._replicas = replicas
        self._circuit = circuit
        self._limit = limit
        self._max_message = max_message
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._rules = rules
        self._beat = beat
        self._links: set[WebSocketLink] = set()
        self._serving = 0

    @property
    def serving(self) -> int:
        """How many WebSockets are open."""
        return self._serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send, target: bytes, headers: Headers) -> None:
        """Serve the WebSocket of `scope`, whose handshake has been received."""
        self._serving += 1
        try:
            await self._serve(scope, receive, send, target, headers)
        finally:
            self._serving -= 1

    async def aclose(self) -> None:
        """Close every WebSocket to the upstream."""
        await asyncio.gather(*(link.close(GOING_AWAY) for link in list(self._links)))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, target: bytes, headers: Headers) -> None:
        try:
            link, handshake = await self._open(scope, target, headers)
        except Unsendable:
            await answer(scope, send, Malformed("the request cannot be forwarded as it was sent"))
            return
        except UpstreamError as error:
            await answer(scope, send, refusal(self._service, error))
            return
        finally:
            scope[access_log.BREAKER] = self._circuit.state
        fields = _fields(handshake)
        if self._rules is not None:
            fields = self._rules.answer(fields)
        fields = [field for field in to_client(fields, handshake.status_code) if not field[0].startswith(_OWN)]
        if handshake.status_code != 101:
            link.abort()
            await self._refuse(scope, send, handshake, fields)
            return
        try:
            await send({"type": "websocket.accept", "subprotocol": link.subprotocol, "headers": fields})
            await self._relay(link, receive, send)
        finally:
            link.abort()

    async def _open(self, scope: Scope, target: bytes, headers: Headers) -> tuple[WebSocketLink, Handshake]:
        if self._serving > self._limit:
            raise PoolFull(f"all {self._limit} WebSockets are in use")
        kept: Headers = [field for field in headers if not field[0].startswith(_OWN)]
        if self._rules is not None:
            kept = self._rules.request(kept)
        ticket = self._circuit.admit()
        try:
            link, handshake = await self._ask(target, kept, scope.get("subprotocols") or ())
        except UpstreamError as error:
            self._circuit.failed(ticket, unreachable=isinstance(error, UpstreamUnreachable))
            raise
        except BaseException:
            self._circuit.abandoned(ticket)
            raise
        if handshake.status_code >= 500:
            self._circuit.failed(ticket)
        else:
            self._circuit.succeeded(ticket)
        return link, handshake

    async def _ask(
        self, target: bytes, headers: Headers, subprotocols: Sequence[str]
    ) -> tuple[WebSocketLink, Handshake]:
        order = self._replicas.order()
        for index in order:
            try:
                link = await self._connect(self._addresses[index], target, headers, subprotocols)
            except UpstreamUnreachable:
                if index == order[-1]:
                    raise
                self._replicas.away(index)
                continue
            try:
                async with asyncio.timeout(self._timeout):
                    return link, await link.handshake()
            except TimeoutError:
                link.abort()
                raise UpstreamTimeout("the upstream did not answer the handshake in time") from None
            except BaseException:
                link.abort()
                raise
        raise AssertionError("there is always a last replica")

    async def _connect(
        self, address: Address, target: bytes, headers: Headers, subprotocols: Sequence[str]
    ) -> WebSocketLink:
        loop = asyncio.get_running_loop()
        link = WebSocketLink(
            loop,
            address,
            target,
            headers,
            subprotocols=subprotocols,
            max_message=self._max_message,
            beat=self._beat,
            ended=self._links.discard,
        )
        try:
            async with asyncio.timeout(self._connect_timeout):
                await loop.create_connection(lambda: link, address.host, address.port, ssl=address.tls)
        except (OSError, TimeoutError) as error:  # ssl's errors are OSErrors
            raise UpstreamUnreachable(f"no connection could be opened: {type(error).__name__}") from error
        if not link.closed:
            self._links.add(link)
        return link

    async def _refuse(self, scope: Scope, send: Send, handshake: Handshake, fields: Headers) -> None:
        status = handshake.status_code
        if status < 200:
            await answer(scope, send, refusal(self._service, UpstreamError("an interim answer to a handshake")))
        elif status >= 500 and not is_problem(fields):
            await answer(scope, send, UpstreamFailed(f"the service {self._service} failed"), status=status)
        else:
            body = bytes(handshake.body or b"")
            kept = [field for field in fields if field[0] != b"content-length"]
            await respond(scope, send, status, [*kept, (b"content-length", b"%d" % len(body))], body)

    async def _relay(self, link: WebSocketLink, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        upward = loop.create_task(_upward(link, receive))
        downward = loop.create_task(_downward(link, send))
        try:
            await asyncio.wait((upward, downward), return_when=asyncio.FIRST_COMPLETED)
        finally:
            upward.cancel()
            downward.cancel()
            up, down = await asyncio.gather(upward, downward, return_exceptions=True)
        for outcome in (up, down):
            # An OSError is what a server raises for a client that is away.
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                raise outcome
        await link.close(*(up if isinstance(up, tuple) else (GOING_AWAY, "")))


async def _upward(link: WebSocketLink, receive: Receive) -> tuple[int | None, str]:
    """Hand on what the client sends until it closes; its code and reason, as the upstream may be told."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code", NO_STATUS)
            if code == NO_STATUS:
                return None, ""
            return (code, message.get("reason") or "") if _sendable(code) else (GOING_AWAY, "")
        text = message.get("text")
        await link.send(text if text is not None else message["bytes"])


async def _downward(link: WebSocketLink, send: Send) -> None:
    """Hand on what the upstream sends until it closes, and then its code and reason."""
    while (message := await link.receive()) is not None:
        kind = "text" if isinstance(message, str) else "bytes"
        await send({"type": "websocket.send", kind: message})
    code = link.close_code
    if code == ABNORMAL:
        await send({"type": "websocket.close", "code": _BAD_GATEWAY, "reason": "the service ended without a word"})
    else:
        # Without a code there is none that ASGI could hand on: 1000 is what it means.
        await send(
            {"type": "websocket.close", "code": 1000 if code == NO_STATUS else code, "reason": link.close_reason}
        )


def _sendable(code: int) -> bool:
    return (1000 <= code <= 1014 and code not in (1004, NO_STATUS, ABNORMAL)) or 3000 <= code <= 4999


def _fields(handshake: Handshake) -> Headers:
    return [
        (name.lower().encode("ascii"), value.encode("ascii", "surrogateescape"))
        for name, value in handshake.headers.raw_items()
    ]
