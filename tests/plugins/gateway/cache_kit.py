"""A response cache in front of a scripted application, with a clock that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from orion_core.adapters.memory_cache import MemoryCache
from orion_core.context import ANONYMOUS, Context, current, use
from orion_core.ports.cache import Cache, CacheUnavailable
from orion_core.purge_marks import PurgeMarks
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_plugins.gateway.response_cache import response_cache
from orion_plugins.gateway.settings import GatewaySettings

START = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


@attrs.define
class Answer:
    """What a client got."""

    status: int = 0
    fields: list[tuple[str, str]] = attrs.field(factory=list)
    body: bytes = b""
    whole: bool = False
    cache: str = ""

    def __getitem__(self, name: str) -> str:
        return dict(self.fields).get(name, "")


@attrs.define
class Request:
    """What the application was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    actor: str


@attrs.define
class Origin:
    """The application behind the cache: answers as `says`, and remembers what it was asked."""

    rule: str = "public, max-age=60"
    status: int = 200
    body: bytes = b"body"
    more: Sequence[tuple[str, str]] = ()
    failing: BaseException | None = None
    gate: asyncio.Event | None = None
    asked: list[Request] = attrs.field(factory=list)
    reached: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(Request(scope["method"], scope["path"], headers, current().actor.kind))
        self.reached.set()
        scope["orion_upstream"] = "origin"
        assert (await receive())["type"] == "http.request"
        if self.gate is not None:
            await self.gate.wait()
        if self.failing is not None:
            raise self.failing
        status, tag = self.status, dict(self.more).get("etag")
        if status == 200 and tag and headers.get("if-none-match") == tag:
            status = 304
        body = b"" if status in (204, 304) or scope["method"] == "HEAD" else self.body
        fields = [("cache-control", self.rule)] if self.rule else []
        fields += [*self.more, ("content-length", str(len(self.body)))]
        raw = [(name.encode(), value.encode()) for name, value in fields]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body[:2], "more_body": True})
        await send({"type": "http.response.body", "body": body[2:], "more_body": False})


@attrs.define
class AwayCache(Cache):
    """A cache that can be away: remembers how often it was asked then."""

    inner: MemoryCache
    away: bool = False
    refused: int = 0

    def _refuse(self) -> None:
        if self.away:
            self.refused += 1
            raise CacheUnavailable("away")

    async def get(self, key: str) -> bytes | None:
        self._refuse()
        return await self.inner.get(key)

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        self._refuse()
        await self.inner.put(key, value, ttl)

    async def delete(self, *keys: str) -> None:
        self._refuse()
        await self.inner.delete(*keys)


class Front:
    """The cache, its clock, and clients in front of it."""

    def __init__(self, origin: Callable[[Any, Any, Any], Awaitable[None]], cache: Cache | None = None, **more: Any):
        self.clock = MovableClock(START)
        self.cache = AwayCache(MemoryCache(self.clock)) if cache is None else cache
        self.marks = PurgeMarks(self.cache, self.clock)
        self.settings = Settings()
        self.stops: list[Callable[[], Awaitable[None]]] = []
        self.served: set[str] = set()
        self.prefixes: dict[str, str] = {}
        settings = GatewaySettings(**{"cache_prefixes": ("/c",), **more})
        self.app = response_cache(origin, self, settings)

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        self.stops.append(callback)

    async def stop(self) -> None:
        for stop in self.stops:
            await stop()

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.advance(timedelta(seconds=seconds))

    async def ask(
        self, path: str = "/c/a", method: str = "GET", body: bytes = b"", user: str = "", **headers: str
    ) -> Answer:
        """Send one request."""
        path, _, query = path.partition("?")
        fields = [(b"host", b"x.example")]
        fields += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": fields,
            "client": ("198.51.100.7", 40000),
        }
        if user:
            scope["orion_user"] = user
        given = asyncio.Event()

        async def receive() -> Any:
            if not given.is_set():
                given.set()
                return {"type": "http.request", "body": body, "more_body": False}
            return await asyncio.Event().wait()

        answer = Answer()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert not answer.status
                answer.status = message["status"]
                answer.fields = [(name.decode(), value.decode()) for name, value in message["headers"]]
            else:
                assert not answer.whole
                answer.body += message.get("body", b"")
                answer.whole = not message.get("more_body", False)

        with use(Context(actor=ANONYMOUS, correlation_id="r-1")):
            await self.app(scope, receive, send)
        answer.cache = scope.get("orion_cache", "")
        return answer
