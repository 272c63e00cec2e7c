"""The circuit breaker around the calls to one upstream."""

from __future__ import annotations

from orion_plugins.gateway.circuit import Circuit
from orion_plugins.gateway.client import (
    Body,
    Gone,
    Headers,
    PoolFull,
    Response,
    Transport,
    UpstreamError,
    UpstreamUnreachable,
)


class Breaker:
    """A `Transport` that asks `circuit` before each call to `inner` and tells it what became of it.

    Connect errors, timeouts, broken answers and every 5xx are failures; all other answers are signs of life. A client
    that leaves, a body that breaks, and our own limit of connections say nothing about the upstream.
    """

    def __init__(self, inner: Transport, circuit: Circuit) -> None:
        self._inner = inner
        self._circuit = circuit

    async def send(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        body: Body = b"",
        *,
        length: int | None = None,
        gone: Gone | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send one request, or raise `BreakerOpen` at once."""
        circuit = self._circuit
        ticket = circuit.admit()
        try:
            response = await self._inner.send(
                method, target, headers, body, length=length, gone=gone, deadline=deadline
            )
        except PoolFull:
            circuit.abandoned(ticket)
            raise
        except UpstreamError as error:
            circuit.failed(ticket, unreachable=isinstance(error, UpstreamUnreachable))
            raise
        except BaseException:
            circuit.abandoned(ticket)
            raise
        if response.status >= 500:
            circuit.failed(ticket)
        else:
            circuit.succeeded(ticket)
        return response
