"""A cache in Redis, shared by all processes of a deployment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Self, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from orion_core.ports.cache import CacheUnavailable
from orion_core.ports.check import Check

_TIMEOUT = 1.0
_MAX_CONNECTIONS = 16
_DEFAULT_PREFIX = "orion:"


class RedisCache:
    """Keeps the port `Cache` in Redis 7.

    An operation gets a second; `CacheUnavailable` says that Redis is away, cut off, silent or out of memory. The next
    operation that finds it back succeeds, without a restart. At most 16 connections per process.
    """

    def __init__(self, client: Redis, prefix: str, place: str) -> None:
        # Its own type leaves arguments and result open.
        self._execute: Callable[..., Awaitable[object]] = client.execute_command
        self._client = client
        self._prefix = prefix
        self._place = place
        # First come, first served; redis-py's own waiting pool serves late comers first.
        self._turns = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._lost = -math.inf
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> Self:
        """A cache at `url`: ``redis://user:password@host:6379/0?prefix=orion:``, or ``rediss://`` for TLS.

        Connects when first used, so it neither fails nor waits while Redis is away. Other query options are those of
        redis-py. Raises ValueError for a URL that is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"not a Redis URL, use redis://, rediss:// or unix:// (got {parts.scheme}:)")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        prefix = options.pop("prefix", _DEFAULT_PREFIX)
        pool = ConnectionPool.from_url(
            parts._replace(query=urlencode(options)).geturl(),
            max_connections=_MAX_CONNECTIONS,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # One repetition turns a connection that died while idle into a fresh one; putting and deleting twice is
            # the same as once.
            retry=Retry(NoBackoff(), 1),
            # How uvloop reports a write to a connection that the server has reset.
            retry_on_error=[RuntimeError],
            # Without RESP3 a connection carries nothing but answers.
            protocol=2,
            decode_responses=False,
            driver_info=None,
        )
        place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        return cls(Redis.from_pool(pool), prefix, place)

    def __repr__(self) -> str:
        return f"RedisCache({self._place!r}, prefix={self._prefix!r})"

    async def get(self, key: str) -> bytes | None:
        """The value under `key`, or None."""
        return cast("bytes | None", await self._ask("GET", self._prefix + key))

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Keep `value` under `key` for `ttl` seconds; with no time left, forget `key`."""
        milliseconds = int(ttl * 1000)
        if milliseconds < 1:
            await self.delete(key)
        else:
            await self._ask("SET", self._prefix + key, value, "PX", milliseconds)

    async def delete(self, *keys: str) -> None:
        """Forget `keys`."""
        if keys:
            await self._ask("DEL", *(self._prefix + key for key in keys))

    async def check(self) -> Check:
        """``pass``, or ``warn`` with the reason."""
        try:
            await self._ask("PING")
        except CacheUnavailable as error:
            return Check("warn", error.detail)
        return Check("pass")

    async def aclose(self) -> None:
        """Close every connection."""
        self._closed = True
        await self._client.aclose()

    async def _ask(self, *command: str | bytes | int) -> object:
        now = asyncio.get_running_loop().time
        asked = now()
        async with self._turns:
            if self._closed:
                raise CacheUnavailable("the cache is closed")
            if self._lost > asked:
                # Whoever waits for a turn during an outage does not wait for it once more.
                raise CacheUnavailable(f"Redis at {self._place} is unavailable")
            try:
                # redis-py's own limits hold for one try of one step; this one holds for all of them together.
                async with asyncio.timeout(_TIMEOUT):
                    return await self._execute(*command)
            except (TimeoutError, RedisTimeoutError) as error:
                self._lost = now()
                raise CacheUnavailable(f"Redis at {self._place} gave no answer within {_TIMEOUT:g} s") from error
            except (RedisConnectionError, OSError, RuntimeError) as error:
                self._lost = now()
                raise CacheUnavailable(f"Redis at {self._place} is unavailable: {error}") from error
            except RedisError as error:
                raise CacheUnavailable(f"Redis at {self._place} refused: {error}") from error
