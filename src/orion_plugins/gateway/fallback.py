"""What a client gets when an upstream gives no usable answer, instead of an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs

from orion_plugins.gateway.client import Headers, Response, Transport, Unsendable, UpstreamError
from orion_plugins.gateway.request import Request
from orion_plugins.gateway.retry import REPEATABLE

MARK: Final = b"x-orion-fallback"
STALE: Final = "orion_stale"
"""Key of the ASGI scope under which a response cache puts its `Stale`."""

Stale: TypeAlias = Callable[[], Awaitable[tuple[int, Headers, bytes] | None]]
"""Gives a kept answer to the request of the scope that is no longer fresh, if there is one: status, headers, body."""


@attrs.define
class Kept:
    """A `Response` that is whole from the beginning."""

    status: int
    headers: Headers
    _body: bytes
    retries: int = 0

    @property
    def ended(self) -> bool:
        """Whether the body has been read."""
        return not self._body

    async def read(self) -> bytes:
        """The body, once."""
        body, self._body = self._body, b""
        return body

    def abort(self) -> None:
        """Nothing is under way."""

    def unhurried(self) -> None:
        """There is no deadline."""


@attrs.frozen
class Fallback:
    """The fallbacks of one upstream, tried in this order: a stale answer, `other`, the answer that never changes.

    `other` is the other upstream with its name, without fallbacks of its own. It is asked only when nothing of the
    request was sent, or when the method does no harm twice and the body is in memory; what is left out then is left to
    the next. Answers are marked with X-Orion-Fallback.
    """

    stale: bool = False
    other: tuple[str, Transport] | None = None
    fixed: tuple[int, bytes, bytes] | None = None

    async def answer(self, scope: Any, request: Request, error: UpstreamError) -> Response | None:
        """The answer to `request` although the upstream failed with `error`, or None if there is none."""
        if self.stale and (find := scope.get(STALE)) is not None:
            kept = await find()
            if kept is not None:
                status, headers, body = kept
                return Kept(status, [*headers, (MARK, b"stale")], b"" if request.method == "HEAD" else body)
        if self.other is not None and (response := await self._elsewhere(*self.other, request, error)) is not None:
            return response
        if self.fixed is not None:
            status, kind, body = self.fixed
            headers = [
                (b"content-type", kind),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
                (MARK, b"static"),
            ]
            return Kept(status, headers, b"" if request.method == "HEAD" else body)
        return None

    async def _elsewhere(self, name: str, other: Transport, request: Request, error: UpstreamError) -> Response | None:
        if error.sent and (request.method not in REPEATABLE or not isinstance(request.body, bytes)):
            return None
        try:
            response = await request.send(other)
        except (UpstreamError, Unsendable):
            return None
        response.headers = [*response.headers, (MARK, f"upstream {name}".encode("ascii"))]
        return response
