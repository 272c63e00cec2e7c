"""The ASGI ends of the response cache: an answer that is watched on its way, and one that is given from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from orion_plugins.gateway import cache_policy as policy
from orion_plugins.gateway.cache_store import Entry
from orion_plugins.gateway.client import Headers

Says = Literal["keep", "withhold", "pass"]
_IN_304: Final = frozenset({b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"})
"""RFC 9110, section 15.4.5."""


class Fill:
    """A `send` that shows `judge` the head of an answer and does as it says.

    ``keep`` passes the answer on and collects its body, ``withhold`` keeps it from the client, ``pass`` only passes it
    on. `body` is the whole body of a kept answer, None unless all of it came and no more than `most` bytes; beyond them
    `overflowed` is called once. `status` is 0 until a head has come.
    """

    def __init__(
        self, send: Any, judge: Callable[[int, Headers], Says], *, most: int, overflowed: Callable[[], None]
    ) -> None:
        self._send = send
        self._judge = judge
        self._most = most
        self._overflowed = overflowed
        self._parts: list[bytes] = []
        self._collected = 0
        self._says: Says = "pass"
        self.status = 0
        self.headers: Headers = ()
        self.body: bytes | None = None

    @property
    def withheld(self) -> bool:
        """Whether an answer came of which the client has seen nothing."""
        return self._says == "withhold"

    async def __call__(self, message: Any) -> None:
        """Take one message."""
        if message["type"] == "http.response.start":
            self.headers = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
            self._says = self._judge(message["status"], self.headers)
            self.status = message["status"]
        elif message["type"] == "http.response.body" and self._says == "keep":
            self._collect(bytes(message.get("body", b"")), last=not message.get("more_body", False))
        if self._says != "withhold":
            await self._send(message)

    def _collect(self, part: bytes, *, last: bool) -> None:
        self._parts.append(part)
        self._collected += len(part)
        if self._collected > self._most:
            self._says = "pass"
            self._parts.clear()
            self._overflowed()
        elif last:
            self.body = b"".join(self._parts)


class Receiving:
    """A `receive` for an application that may be asked twice: no body, then the client's departure."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._asked = False

    async def __call__(self) -> Any:
        """The next message."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await self._receive())["type"] != "http.disconnect":
            pass
        return message


async def serve(send: Any, entry: Entry, extra: Sequence[tuple[bytes, bytes]], *, head: bool, known: bool) -> None:
    """Answer with `entry` and the `extra` fields: without its body to `head`, as 304 if it is `known` to the client."""
    headers = [field for field in entry.headers if not known or field[0] in _IN_304]
    if entry.body and not known and not policy.first(entry.headers, b"content-length"):
        headers.append((b"content-length", b"%d" % len(entry.body)))  # it came in chunks
    await send({"type": "http.response.start", "status": 304 if known else entry.status, "headers": [*headers, *extra]})
    await send({"type": "http.response.body", "body": b"" if head or known else entry.body})


def whole(fill: Fill, *, head: bool) -> bool:
    """Whether the kept answer is as long as it said."""
    said = policy.first(fill.headers, b"content-length")
    return fill.body is not None and (head or not said or said == b"%d" % len(fill.body))
