"""The response cache: a shared cache by RFC 9111 in front of the routes whose answers allow it (G70).

What may be stored and used says `cache_policy`; here is how a request meets it. A miss is filled by one request while
the others wait, an entry past its lifetime is validated, an upstream that fails is stood in for by what is stored if
the response allowed that. While the cache is away every request passes by.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from orion_core.background import end, spawn
from orion_core.context import ANONYMOUS, current, use
from orion_core.errors import DeadlineExceeded, Error
from orion_core.plugin import Host
from orion_core.ports.cache import CacheUnavailable
from orion_core.web import access_log
from orion_plugins.gateway import cache_policy as policy
from orion_plugins.gateway.cache_fill import Fill, Receiving, Says, serve, whole
from orion_plugins.gateway.cache_key import primary_key
from orion_plugins.gateway.cache_store import CacheStore, Entry
from orion_plugins.gateway.client import Headers
from orion_plugins.gateway.fallback import STALE
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.single_flight import ALONE, Flight, Flights

log = logging.getLogger("orion.gateway.cache")

App = Callable[[Any, Any, Any], Awaitable[None]]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PASSED: Final = frozenset({b"range", b"if-range", b"if-match", b"if-unmodified-since"})
_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
_ANEW: Final = frozenset({"max-age", "min-fresh", "no-cache"})
"""Directives of requests to which an answer that is under way may be too old."""
_MOST_WAITING: Final = 1000
_ALONE_SECONDS: Final = 10.0
_MOST_ALONE: Final = 10_000


class NotStored(DeadlineExceeded):
    """The client wanted a stored response only, and there is none (RFC 9111, section 5.2.1.7); answers 504."""

    code = "gateway.not_cached"
    title = "Not cached"


def response_cache(app: App, host: Host, settings: GatewaySettings) -> App:
    """Wrap `app` in the layer for the prefixes that `settings` name; without any there is no layer."""
    prefixes = tuple(prefix.rstrip("/") for prefix in settings.cache_prefixes)
    if not prefixes:
        return app
    below, exactly = tuple(f"{prefix}/" for prefix in prefixes), frozenset(prefixes)
    cache = ResponseCache(app, host, settings)
    host.on_stop(cache.aclose)

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        path: str = scope.get("path", "")
        if (path.startswith(below) or path in exactly) and scope["type"] == "http":
            await cache(scope, receive, send)
        else:
            await app(scope, receive, send)

    return layer


@attrs.frozen
class Asked:
    """One GET or HEAD as the cache sees it. `person` is who asks, where answers are kept for each person by himself."""

    scope: Any
    receive: Any
    send: Any
    method: str
    given: policy.Directives
    credentials: bool
    person: str
    conditions: list[tuple[bytes, bytes]]

    @property
    def shared(self) -> bool:
        """Whether it may wait for the answer to another request."""
        if self.conditions or not _ANEW.isdisjoint(self.given):
            return False
        return not self.credentials or bool(self.person)


class ResponseCache:
    """The ASGI application in front of `app`; see `response_cache`."""

    def __init__(self, app: App, host: Host, settings: GatewaySettings) -> None:
        self._app = app
        self._store = CacheStore(
            host.cache,
            host.clock,
            max_bytes=settings.cache_max_bytes,
            stale_if_error=settings.cache_stale_if_error,
        )
        self._max_entry = settings.cache_max_entry
        self._stale_if_error = settings.cache_stale_if_error
        self._wait = settings.cache_wait
        self._private = settings.cache_private
        self._flights: Flights[Entry] = Flights(_MOST_WAITING)
        self._alone: OrderedDict[str, float] = OrderedDict()
        self._validating: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        method: str = scope["method"]
        if method not in _SAFE:
            await self._unsafe(scope, receive, send)
            return
        asked = self._read(scope, receive, send) if method in ("GET", "HEAD") else None
        if asked is not None:
            try:
                entry = await self._store.find(scope, method, asked.person)
            except CacheUnavailable:
                pass
            else:
                if entry is None or not asked.credentials or asked.person or policy.for_credentials(entry.headers):
                    await self._answer(asked, entry)
                    return
        scope[access_log.CACHE] = "bypass"
        await self._app(scope, receive, send)

    async def aclose(self) -> None:
        """End the validations that still run."""
        await end(*self._validating.values())

    def _read(self, scope: Any, receive: Any, send: Any) -> Asked | None:
        """The request as the cache sees it; None for one that it leaves alone."""
        credentials, conditions, headers = False, [], scope["headers"]
        for field in headers:
            name = field[0]
            if name in _PASSED or name == b"transfer-encoding" or (name == b"content-length" and field[1] != b"0"):
                return None
            credentials = credentials or name in (b"authorization", b"cookie")
            if name in _CONDITIONS:
                conditions.append(field)
        given = policy.directives(headers)
        if "no-store" in given:
            return None
        person = scope.get(access_log.USER, "") if self._private and credentials else ""
        return Asked(scope, receive, send, scope["method"], given, credentials, person, conditions)

    async def _answer(self, asked: Asked, entry: Entry | None) -> None:
        now_ms = self._store.now_ms()
        if entry is not None:
            found = policy.verdict(entry.headers, entry.age(now_ms), asked.given, now_ms / 1000)
            if found == "revalidate":
                self._validate_later(asked, entry)
            if found != "validate":
                await self._hit(asked, entry, "hit" if found == "fresh" else "stale")
                return
        if "only-if-cached" in asked.given:
            raise NotStored("nothing fresh is stored for this request, and it asks for nothing else")
        key = primary_key(asked.scope, asked.method, asked.person)
        joined = self._flights.join(key) if asked.shared and not self._goes_alone(key) else None
        if joined is None:
            await self._fill(asked, entry, None)
            return
        flight, leads = joined
        if not leads:
            brought = await flight.wait(self._wait)
            if brought is not None:
                await self._brought(asked, entry, brought)
                return
        try:
            await self._fill(asked, entry, flight)
        finally:
            flight.fail()

    async def _brought(self, asked: Asked, entry: Entry | None, brought: Entry | str) -> None:
        """Answer one that waited: by what the leader brought, if the same request would have brought it here."""
        if isinstance(brought, Entry) and policy.vary(brought.headers):
            try:
                found = await self._store.find(asked.scope, asked.method, asked.person)
            except CacheUnavailable:
                found = None
            brought = found if found is not None and found.asked_ms >= brought.asked_ms else ALONE
        if isinstance(brought, Entry):
            # The leader brought nothing newer than what was there: it stands in for a failure.
            old = entry is not None and brought.asked_ms <= entry.asked_ms
            await self._hit(asked, brought, "stale" if old else "hit", fallback=old)
        else:
            await self._fill(asked, entry, None)

    async def _fill(self, asked: Asked, entry: Entry | None, flight: Flight[Entry] | None) -> None:
        """Ask upstream and answer with what comes, or with `entry` when it is validated or upstream fails."""
        scope = inner = asked.scope
        if entry is not None:
            scope[STALE] = functools.partial(_kept, entry)
        if entry is not None and (condition := policy.validators(entry.headers)):
            kept = [field for field in scope["headers"] if field[0] not in _CONDITIONS]
            inner = {**scope, "headers": [*kept, *condition]}
        asked_ms = self._store.now_ms()
        fill = Fill(
            asked.send,
            lambda status, headers: self._judge(asked, entry, flight, status, headers),
            most=self._max_entry,
            overflowed=lambda: self._split(asked, flight),
        )
        scope[access_log.CACHE] = "miss" if entry is None else "expired"
        try:
            await self._app(inner, Receiving(asked.receive), fill)
        except Exception as error:
            status = error.status if isinstance(error, Error) else 500
            if fill.status or status < 500 or entry is None or not self._stands_in(entry):
                raise
            await self._stand_in(asked, entry, flight)
            return
        finally:
            if inner is not scope:
                # What inner layers noted for the access log.
                scope.update({name: noted for name, noted in inner.items() if name != "headers"})
        if fill.withheld and entry is not None:
            await self._withheld(asked, entry, fill, flight, asked_ms)
        elif fill.body is not None and whole(fill, head=asked.method == "HEAD"):
            await self._keep(asked, self._entry(fill.status, fill.headers, fill.body, fill.headers, asked_ms), flight)

    def _judge(
        self, asked: Asked, entry: Entry | None, flight: Flight[Entry] | None, status: int, headers: Headers
    ) -> Says:
        """What becomes of an answer whose head has come."""
        if entry is not None and (status == 304 or (status >= 500 and self._stands_in(entry))):
            return "withhold"
        length = policy.first(headers, b"content-length")
        fits = not length.isdigit() or int(length) <= self._max_entry or asked.method == "HEAD"
        if fits and self._storable(asked, status, headers):
            return "keep"
        if status < 500:
            self._split(asked, flight)
        return "pass"

    def _split(self, asked: Asked, flight: Flight[Entry] | None) -> None:
        """Nobody is to wait for what cannot be shared, now and for a while."""
        if flight is not None:
            self._alone[primary_key(asked.scope, asked.method, asked.person)] = _now() + _ALONE_SECONDS
            while len(self._alone) > _MOST_ALONE:
                self._alone.popitem(last=False)
            flight.split()

    async def _withheld(
        self, asked: Asked, entry: Entry, fill: Fill, flight: Flight[Entry] | None, asked_ms: int
    ) -> None:
        if fill.status != 304:
            await self._stand_in(asked, entry, flight)
        elif not policy.freshens(entry.headers, fill.headers):
            # It speaks of something else than what is stored: ask again, for everything.
            await self._fill(asked, None, flight)
        else:
            headers = policy.freshened(entry.headers, fill.headers)
            fresh = self._entry(entry.status, headers, entry.body, fill.headers, asked_ms)
            if not self._storable(asked, fresh.status, headers):
                # For whoever asked it holds still, and no longer for everybody.
                await self._store.forget([asked.scope["path"]])
                self._split(asked, flight)
            elif asked.method == "GET":
                await self._keep(asked, fresh, flight)
            await self._hit(asked, fresh, "revalidated")

    def _storable(self, asked: Asked, status: int, headers: Headers) -> bool:
        return policy.storable(
            status,
            headers,
            asked.given,
            credentials=asked.credentials,
            private=bool(asked.person),
            now=self._store.now_ms() / 1000,
        )

    def _entry(self, status: int, headers: Headers, body: bytes, arrived: Headers, asked_ms: int) -> Entry:
        now_ms = self._store.now_ms()
        age = policy.initial_age(arrived, asked_ms / 1000, now_ms / 1000)
        return Entry(status, policy.to_store(headers), body, asked_ms, now_ms - int(age * 1000))

    async def _keep(self, asked: Asked, entry: Entry, flight: Flight[Entry] | None) -> None:
        try:
            await self._store.put(asked.scope, asked.method, asked.person, entry)
        except CacheUnavailable:
            pass  # answered all the same, and noted by the store
        if flight is not None:
            flight.land(entry)

    async def _hit(self, asked: Asked, entry: Entry, how: str, *, fallback: bool = False) -> None:
        asked.scope[access_log.CACHE] = how
        extra = [(b"age", b"%d" % entry.age(self._store.now_ms()))]
        if fallback:
            extra.append((b"x-orion-fallback", b"stale"))
        known = bool(asked.conditions) and policy.not_modified(entry.headers, asked.conditions)
        await serve(asked.send, entry, extra, head=asked.method == "HEAD", known=known and entry.status == 200)

    async def _stand_in(self, asked: Asked, entry: Entry, flight: Flight[Entry] | None) -> None:
        """Answer with `entry` in place of a failure, and let those who wait do so too: they would fail one by one."""
        if flight is not None:
            flight.land(entry)
        await self._hit(asked, entry, "stale", fallback=True)

    def _stands_in(self, entry: Entry) -> bool:
        now_ms = self._store.now_ms()
        return policy.usable_on_error(entry.headers, entry.age(now_ms), self._stale_if_error, now_ms / 1000)

    def _goes_alone(self, key: str) -> bool:
        return self._alone.get(key, 0.0) > _now()

    def _validate_later(self, asked: Asked, entry: Entry) -> None:
        """Validate a response that was served past its lifetime (RFC 5861, section 3), unless somebody does already."""
        key = primary_key(asked.scope, asked.method, asked.person)
        if key in self._validating:
            return
        # A background task has no context, and without one it would act as the system.
        context = attrs.evolve(current(), actor=ANONYMOUS)
        alone = attrs.evolve(asked, scope=dict(asked.scope), receive=_nothing, send=_nowhere, conditions=[])

        async def validate() -> None:
            with use(context):
                try:
                    await self._fill(alone, entry, None)
                except Exception as error:
                    # The next request finds the response stale still, and tries again.
                    log.info("%s could not be validated: %s", alone.scope["path"], type(error).__name__)

        task = self._validating[key] = spawn(validate(), "validate a response")
        task.add_done_callback(lambda _: self._validating.pop(key, None))

    async def _unsafe(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on a request that may change something, and forget what it may have changed (section 4.4)."""

        async def forgetting(message: Any) -> None:
            if message["type"] == "http.response.start" and 200 <= message["status"] < 400:
                # Before the client learns of its success: what it asks next is not the old state.
                await self._store.forget(_changed(scope, message["headers"]))
            await send(message)

        await self._app(scope, receive, forgetting)


def _changed(scope: Any, headers: Any) -> list[str]:
    """The paths that an unsafe request may have changed: its own, and those of this host in Location and
    Content-Location."""
    host = policy.first(scope["headers"], b"host").decode("latin-1")
    paths = [scope["path"]]
    for name in (b"location", b"content-location"):
        parts = urlsplit(policy.first(headers, name).decode("latin-1"))
        if parts.path.startswith("/") and parts.netloc in ("", host):
            paths.append(unquote(parts.path))
    return list(dict.fromkeys(paths))


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _nothing() -> Any:
    await asyncio.Event().wait()


async def _nowhere(message: Any) -> None:
    return


async def _kept(entry: Entry) -> tuple[int, Headers, bytes]:
    """For the fallback of an upstream that may stand in with what is stored, however old."""
    return entry.status, entry.headers, entry.body
