"""What the gateway asks of an HTTP client, and how that client fails.

`Transport` is one method, so that a breaker, a retry or a cache is another `Transport` around the first, and a second
client can stand in for `Pool` in tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Header fields in order, names in lower case."""

Body: TypeAlias = bytes | AsyncIterable[bytes]
"""A request body: all of it, or its parts as they come."""

Gone: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
"""Returns when the client has left."""


class UpstreamError(Exception):
    """An upstream gave no usable answer; `sent` is False when no byte of the request can have reached it."""

    retries = 0
    """How many times the request had been sent again when this was raised."""

    def __init__(self, detail: str, *, sent: bool = True) -> None:
        super().__init__(detail)
        self.sent = sent


class UpstreamUnreachable(UpstreamError):
    """No connection could be had: refused, unknown, or all in use. Nothing was sent."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, sent=False)


class PoolFull(UpstreamUnreachable):
    """All connections allowed are in use: a limit of ours, which says nothing about the upstream."""


class BreakerOpen(UpstreamError):
    """The upstream has failed too often and is left alone; ask again after `retry_after` seconds. Nothing was sent."""

    def __init__(self, detail: str, retry_after: float) -> None:
        super().__init__(detail, sent=False)
        self.retry_after = retry_after


class UpstreamBroken(UpstreamError):
    """The upstream closed, reset or broke the protocol before its answer was whole."""


class UpstreamUnanswered(UpstreamBroken):
    """The upstream closed or reset the connection before the first byte of its answer."""


class UpstreamTimeout(UpstreamError):
    """The upstream was silent for too long, or the deadline of the request passed."""


class ClientGone(Exception):
    """The client left before its answer was whole; the call to the upstream was given up."""


class ClientSlow(Exception):
    """The client did not send its body in the time of the request, while the upstream was ready for it."""


class Unsendable(Exception):
    """What was given does not make one well-formed request; the fault is on the client's side."""


class BodyMismatch(Unsendable):
    """The request body ended before, or went on after, the length that its head announced."""


class Response(Protocol):
    """An answer whose head has arrived and whose body may still be coming.

    Read it until `ended`, or call `abort`. One reader at a time.
    """

    status: int
    """The final status code, 200 to 599."""

    headers: Headers
    """The header fields as received, names in lower case, hop-by-hop fields included, trailers left out."""

    retries: int
    """How many times the request was sent again before this answer came."""

    @property
    def ended(self) -> bool:
        """Whether the whole body has been read."""

    async def read(self) -> bytes:
        """The next part of the body, empty at its end.

        Raises `UpstreamBroken` or `UpstreamTimeout` when the rest will never come, `ClientGone` when the call was given
        up, and whatever the request body raised while it was still being sent.
        """

    def abort(self) -> None:
        """Give up the rest and close the connection, unless the answer is already whole."""

    def unhurried(self) -> None:
        """Forget the deadline: from here on only the upstream's silence counts, as for a stream of events."""


class Transport(Protocol):
    """Something that answers requests to one upstream."""

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
        """Send one request and return its answer as soon as the head is there.

        `target` is the origin form (RFC 9112 section 3.2.1), `headers` have no hop-by-hop field, no Host and no
        framing. A streamed body has `length` bytes, or is chunked when that is None. `gone` returns when the client has
        left; it may be started late or not at all. `deadline` is in seconds of the event loop's clock; what is left of
        it goes on as X-Request-Timeout. It moves on with every 64 KiB of a body, either way, so that it ends what
        stands still or drips, but no stream.

        Raises an `UpstreamError`, `ClientGone`, `ClientSlow`, `Unsendable`, and whatever the body raises.
        """
