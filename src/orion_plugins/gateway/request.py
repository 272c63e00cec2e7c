"""One request on its way to an upstream."""

from __future__ import annotations

from typing import NamedTuple

from orion_plugins.gateway.client import Body, Gone, Headers, Response, Transport


class Request(NamedTuple):
    """The arguments of `Transport.send`."""

    method: str
    target: bytes
    headers: Headers
    body: Body
    length: int | None
    gone: Gone | None
    deadline: float | None

    async def send(self, transport: Transport) -> Response:
        """Send it by `transport`."""
        method, target, headers, body, length, gone, deadline = self
        return await transport.send(method, target, headers, body, length=length, gone=gone, deadline=deadline)
