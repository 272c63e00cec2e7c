"""What the response cache costs and saves: an ASGI application bare, and behind the cache.

    python benchmarks/response_cache.py [seconds]

Prints requests per second and their ratio to the bare application of the same round: for a path that is not cached, for
a hit, for a hit with tags, and for an answer that may not be stored. One loop, no sockets, cache in memory.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from orion_core.adapters.memory_cache import MemoryCache
from orion_core.adapters.system_clock import SystemClock
from orion_core.context import Context, use
from orion_plugins.gateway.response_cache import response_cache
from orion_plugins.gateway.settings import GatewaySettings

ROUNDS = 5
BODY = b"x" * 1000
App = Callable[[Any, Any, Any], Awaitable[None]]


class Host:
    """What the layer gets to know of its host."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.cache = MemoryCache(self.clock)

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Nothing runs on."""


def answering(rule: bytes, *more: tuple[bytes, bytes]) -> App:
    """An application that answers at once."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"cache-control", rule), (b"content-length", b"%d" % len(BODY)), *more]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY, "more_body": False})

    return app


async def rate(app: App, path: str, seconds: float) -> float:
    """Requests per second, one after the other."""
    headers = [(b"host", b"x.example"), (b"accept-encoding", b"gzip, br"), (b"user-agent", b"benchmark")]

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        return

    count, began = 0, time.perf_counter()
    with use(Context()):
        while (passed := time.perf_counter() - began) < seconds:
            for _ in range(100):
                scope = {
                    "type": "http",
                    "method": "GET",
                    "scheme": "http",
                    "path": path,
                    "raw_path": path.encode(),
                    "query_string": b"a=1",
                    "headers": headers,
                }
                await app(scope, receive, send)
            count += 100
    return count / passed


async def main(seconds: float) -> None:
    """Measure in rounds, each against the bare application of its own."""
    settings = GatewaySettings(cache_prefixes=("/cached",))
    public = answering(b"public, max-age=600")
    tagged = answering(b"public, max-age=600", (b"cache-tag", b"a, b"))
    cases = {
        "another path": (response_cache(public, Host(), settings), "/api/v1/users/me"),  # type: ignore[arg-type]
        "hit": (response_cache(public, Host(), settings), "/cached/a"),  # type: ignore[arg-type]
        "hit, two tags": (response_cache(tagged, Host(), settings), "/cached/a"),  # type: ignore[arg-type]
        "not to be stored": (response_cache(answering(b"private"), Host(), settings), "/cached/a"),  # type: ignore[arg-type]
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (app, path) in cases.items():
            bare = await rate(public, path, seconds)
            measured = await rate(app, path, seconds)
            found[name].append((measured, measured / bare))
    for name, rounds in found.items():
        rates, ratios = zip(*rounds, strict=True)
        print(f"{name:18} {statistics.median(rates):10,.0f} requests/s   {statistics.median(ratios):5.2f} of bare")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.5))
