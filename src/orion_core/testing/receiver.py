"""A receiver of webhooks on the loopback address, for tests: it keeps what arrives and answers what it is told to.

::

    async with Receiver() as receiver:
        receiver.then(503, {"retry-after": "1"})          # the next answer; 200 where nothing was said
        ...
        [arrived] = receiver.requests

A host calls it only if ``ORION_WEBHOOKS_ALLOWED_NETWORKS`` holds 127.0.0.0/8.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import attrs

from orion_core.webhook_verifier import verify

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


@attrs.frozen
class Arrived:
    """One request that arrived; names of headers are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The `webhook-id`."""
        return self.headers.get("webhook-id", "")

    def verify(self, *secrets: str, now: float | None = None) -> str:
        """The `webhook-id` if one of `secrets` signed it; raises `NotVerified`."""
        return verify(secrets, self.headers, self.body, now=now)


class Receiver:
    """Listens while its block runs; every request is in `requests`, oldest first."""

    def __init__(self, **options: Any) -> None:
        self.requests: list[Arrived] = []
        self._scripts: deque[Script] = deque()
        self._options = options
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, **self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The URL for an endpoint."""
        return f"http://127.0.0.1:{self.port}/hooks?from=orion"

    def then(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer the next request that has no answer yet like this."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(response(status, headers, body))
            await writer.drain()

        self._scripts.append(answer)

    def then_do(self, script: Script) -> None:
        """Let `script` write the answer to the next request that has none yet."""
        self._scripts.append(script)

    async def until(self, count: int, patience: float = 20.0) -> list[Arrived]:
        """Wait until `count` requests have arrived, and return all."""
        async with asyncio.timeout(patience), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            method, path, _ = first.split(" ")
            headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            async with self._arrived:
                self.requests.append(Arrived(method, path, headers, body))
                self._arrived.notify_all()
            if self._scripts:
                await self._scripts.popleft()(writer)
            else:
                writer.write(response(200))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


def response(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """The bytes of an HTTP/1.1 answer."""
    given = {"content-length": str(len(body)), "connection": "close", **(headers or {})}
    lines = "".join(f"{name}: {text}\r\n" for name, text in given.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body
