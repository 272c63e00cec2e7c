"""An upstream that fails in every way there is: after it has seen a request, and without telling what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from upstream import Upstream, Wire

Fault = Callable[[Wire], Awaitable[bool | None]]
"""What is done to one connection once the head of a request has been read; True if it serves another one."""


def says(data: bytes, *, after: str = "close") -> Fault:
    """Read the body, answer with `data`, then close, reset, half-close, hold or keep the connection."""

    async def fault(wire: Wire) -> bool:
        await wire.body()
        await wire.send(data)
        if after == "reset":
            wire.reset()
        elif after == "half-close":
            wire.half_close()
            await wire.gone()
        elif after == "hold":
            await wire.gone()
        return after == "keep"

    return fault


async def closes_unread(wire: Wire) -> None:
    """Close with the body unread."""


async def resets_unread(wire: Wire) -> None:
    """Reset with the body unread."""
    wire.reset()


async def drips(wire: Wire) -> None:
    """Send a head byte by byte, for ever."""
    await wire.body()
    await wire.send(b"HTTP/1.1 200 OK\r\nx: ")
    while not wire.left:
        await wire.send(b"a")
        await asyncio.sleep(0.01)


async def refuses_early(wire: Wire) -> None:
    """Answer 503 before the body was read, and close."""
    await wire.send(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy")


def _status(line: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-length: 4\r\n\r\nfail" % (line, extra)


FAULTS: Mapping[str, Fault] = {
    "closes without an answer": says(b""),
    "resets without an answer": says(b"", after="reset"),
    "half-closes without an answer": says(b"", after="half-close"),
    "closes before it has read the body": closes_unread,
    "resets before it has read the body": resets_unread,
    "says nothing": says(b"", after="hold"),
    "says half a status line and no more": says(b"HTTP/1.1 20", after="hold"),
    "drips its head": drips,
    "closes in its status line": says(b"HTTP/1.1 20"),
    "resets in its head": says(b"HTTP/1.1 200 OK\r\ncontent-le", after="reset"),
    "closes after 100 Continue": says(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "resets after an early hint": says(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", after="reset"),
    "speaks another protocol": says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "switches protocols unasked": says(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    ),
    "gives two lengths": says(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nno"),
    "sends an endless head": says(b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"a" * 1000) * 90),
    "answers 500": says(_status(b"500 Internal Server Error"), after="keep"),
    "answers 502": says(_status(b"502 Bad Gateway"), after="keep"),
    "answers 503": says(_status(b"503 Service Unavailable"), after="keep"),
    "answers 503 and says when to ask again": says(
        _status(b"503 Service Unavailable", b"retry-after: 0\r\n"), after="keep"
    ),
    "answers 503 before it has read the body": refuses_early,
    "answers 504": says(_status(b"504 Gateway Timeout"), after="keep"),
    "cuts its body short of the length": says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
    "resets in its body": says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", after="reset"),
    "leaves out its last chunk": says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    "breaks its chunks": says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf\r\n"),
    "falls silent in its body": says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", after="hold"),
}

SILENT = {"says nothing", "says half a status line and no more", "drips its head", "falls silent in its body"}
"""Those that only a limit of time ends."""

AFTER_WHICH_A_RETRY_MAY_COME = {
    "closes without an answer",
    "resets without an answer",
    "half-closes without an answer",
    "closes before it has read the body",
    "resets before it has read the body",
    "answers 502",
    "answers 503",
    "answers 503 and says when to ask again",
    "answers 503 before it has read the body",
    "answers 504",
}


def faulty(fault: Fault, *, warm: bool = False, times: int = 1_000_000) -> Upstream:
    """An upstream that meets the first `times` requests with `fault`, and serves all others well.

    With `warm` the first request on each connection is served well, so that the fault strikes on a kept one.
    """
    struck = 0

    async def script(wire: Wire) -> None:
        nonlocal struck
        if warm:
            await wire.answer()
        while struck < times:
            await wire.head()
            struck += 1
            if not await fault(wire):
                return
        while True:
            await wire.answer()

    return Upstream(script)
