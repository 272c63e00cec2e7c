"""Limits counted in Redis, for all processes of a deployment together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self, TypeAlias, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orion_core.adapters._gcra import Buckets, verdict
from orion_core.background import end, spawn
from orion_core.ports.check import Check
from orion_core.ports.clock import Clock
from orion_core.ports.limits import MICROSECOND, Policy, Verdict

log = logging.getLogger("orion.limits")

PATIENCE: Final = 1.0
"""Seconds that Redis gets for an answer; a request waits no longer before it is decided here."""
PAUSE: Final = 0.2
"""Seconds between looks at whether Redis is back."""
AT_ONCE: Final = 200
"""Questions in one script call: Redis does nothing else while it runs."""
IN_FLIGHT: Final = 4
"""Script calls at the same time; what is asked meanwhile goes with the next one, so that many ask in few calls."""
_CONNECTIONS: Final = IN_FLIGHT + 2
_DEFAULT_PREFIX: Final = "orion:"

# Keys are grouped by policy. Arguments are the offset of the clock, then interval, capacity and number of keys of each
# policy. Times are microseconds, which doubles hold exactly until the year 2255; %.0f writes them whole. The answer is,
# for each key, how far ahead of now the theoretical arrival time is, or -1 minus that where the question was refused.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2] + ARGV[1]
local answers, last = {}, 0
for policy = 2, #ARGV, 3 do
  local interval, capacity = tonumber(ARGV[policy]), tonumber(ARGV[policy + 1])
  local first = last + 1
  last = last + ARGV[policy + 2]
  for i = first, last do
    local ahead = (tonumber(redis.call('GET', KEYS[i])) or 0) - now
    if ahead < 0 then ahead = 0 end
    if ahead + interval > capacity then
      answers[i] = string.format('%.0f', -1 - ahead)
    else
      ahead = ahead + interval
      local lives = string.format('%.0f', math.ceil(ahead / 1000))
      redis.call('SET', KEYS[i], string.format('%.0f', now + ahead), 'PX', lives)
      answers[i] = string.format('%.0f', ahead)
    end
  end
end
return table.concat(answers, ' ')
"""
Asked: TypeAlias = list[tuple[Policy, str, "asyncio.Future[Verdict]"]]


class RedisLimits:
    """Keeps the port `Limits` in Redis 7: every decision is taken there, by one script, in the time of Redis.

    What is asked within one turn of the event loop goes to Redis in one call, and what is asked while four calls are
    under way goes with the next. While Redis is away, silent or refuses, decisions are taken here, by counts that are
    kept all the time, each policy with its quota divided by `replicas`: that is logged once as a warning, counted in
    `fallbacks`, and shown by `check`. Redis is used again once it answers.
    """

    def __init__(self, client: Redis, prefix: str, place: str, clock: Clock, replicas: int) -> None:
        self._client = client
        # Its own type leaves arguments and result open.
        self._script: Callable[..., Awaitable[Any]] = client.register_script(_SCRIPT)
        self._prefix = prefix
        self._place = place
        self._clock = clock
        self._replicas = replicas
        self._own = Buckets()
        self._shares: dict[Policy, Policy] = {}
        self._asked: Asked = []
        self._asking: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.Task[Any] | None = None
        self._away = ""
        self._closed = False
        self.fallbacks = 0
        """Decisions that were taken here because Redis was away."""

    @classmethod
    def open(cls, url: str, clock: Clock, replicas: int = 1) -> Self:
        """Limits at `url`: ``redis://user:password@host:6379/0?prefix=orion:``, or ``rediss://`` for TLS.

        Connects when first used, so it neither fails nor waits while Redis is away. Other query options are those of
        redis-py. `replicas` is how many processes share the limits. Raises ValueError for a URL that is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"not a Redis URL, use redis://, rediss:// or unix:// (got {parts.scheme}:)")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        prefix = options.pop("prefix", _DEFAULT_PREFIX)
        pool = ConnectionPool.from_url(
            parts._replace(query=urlencode(options)).geturl(),
            max_connections=_CONNECTIONS,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            # What may have been counted is not sent again.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=False,
            driver_info=None,
        )
        place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        return cls(Redis.from_pool(pool), prefix, place, clock, replicas)

    def __repr__(self) -> str:
        return f"RedisLimits({self._place!r}, prefix={self._prefix!r})"

    async def spend(self, policy: Policy, key: str) -> Verdict:
        """Whether one more under `key` is allowed by `policy`; if it is, it counts."""
        if self._away or self._closed:
            self._look()
            return self._decide(policy, key)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Verdict] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._send)
        self._asked.append((policy, key, answer))
        return await answer

    async def check(self) -> Check:
        """``pass``, or ``warn`` with the reason."""
        if self._closed:
            return Check("warn", "the limits are closed")
        try:
            await self._try()
        except Exception as error:
            self._lose(error)
            return Check("warn", f"{self._away}; {self.fallbacks} requests were decided by this process alone")
        return Check("pass")

    async def aclose(self) -> None:
        """Close every connection; what is asked now is decided here."""
        self._closed = True
        self._send()
        if self._looking is not None:
            await end(self._looking)
        await asyncio.gather(*self._asking)
        await self._client.aclose()

    # In Redis

    def _send(self) -> None:
        if self._away or self._closed:
            asked, self._asked = self._asked, []
            self._decide_all(asked)
        while self._asked and len(self._asking) < IN_FLIGHT:
            asked, self._asked = self._asked[:AT_ONCE], self._asked[AT_ONCE:]
            task = spawn(self._ask(asked), "limits")
            self._asking.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[Any]) -> None:
        self._asking.discard(task)
        self._send()

    async def _ask(self, asked: Asked) -> None:
        by_policy: dict[Policy, Asked] = {}
        for question in asked:
            by_policy.setdefault(question[0], []).append(question)
        try:
            aheads = iter(await self._run(by_policy))
        except Exception as error:
            # Whatever it was: who asked is waiting.
            self._lose(error)
            self._decide_all(asked)
            return
        now = self._now()
        # Counted here too, so that an outage gives nobody a new quota.
        for policy, questions in by_policy.items():
            share = self._share(policy)
            for (_, key, answer), ahead in zip(questions, aheads, strict=False):
                if ahead >= 0:
                    self._own.note(share, key, now)
                # One that asked may have left meanwhile.
                if not answer.done():
                    answer.set_result(verdict(policy, ahead if ahead >= 0 else -1 - ahead, ahead >= 0))

    async def _run(self, by_policy: Mapping[Policy, Asked]) -> list[int]:
        """The answers of the script, in the order of the policies and their questions."""
        keys: list[bytes] = []
        times = [self._offset()]
        for policy, questions in by_policy.items():
            start = f"{self._prefix}limit:{policy.name}:".encode()
            # Half a surrogate pair is a text too.
            keys += [start + key.encode("utf-8", "surrogatepass") for _, key, _ in questions]
            times += (policy.interval, policy.capacity, len(questions))
        # redis-py's own limit holds for one step; this one holds for all of them together.
        async with asyncio.timeout(PATIENCE):
            found = cast("bytes", await self._script(keys=keys, args=times)).split(b" ")
        if len(found) != len(keys):
            raise ValueError(f"{len(keys)} questions had {len(found)} answers")
        return [int(each) for each in found]

    async def _try(self) -> None:
        # The script itself, on a count of nobody: a Redis that takes no writes would answer a PING.
        async with asyncio.timeout(PATIENCE):
            await self._script(keys=[f"{self._prefix}limit:"], args=[0, 1, 1, 1])
        if self._away:
            log.info("limits are counted in Redis at %s again", self._place)
            self._away = ""

    # Here

    def _decide(self, policy: Policy, key: str) -> Verdict:
        self.fallbacks += 1
        return self._own.spend(self._share(policy), key, self._now())

    def _decide_all(self, asked: Asked) -> None:
        for policy, key, answer in asked:
            if not answer.done():
                answer.set_result(self._decide(policy, key))

    def _share(self, policy: Policy) -> Policy:
        share = self._shares.get(policy)
        if share is None:
            share = self._shares[policy] = policy.share(self._replicas)
        return share

    def _lose(self, error: BaseException) -> None:
        if not self._away:
            self._away = f"Redis at {self._place} is away ({type(error).__name__})"
            log.warning("%s: each process limits by itself, with 1/%d of each quota", self._away, self._replicas)
        self._look()

    def _look(self) -> None:
        if not self._closed and (self._looking is None or self._looking.done()):
            self._looking = spawn(self._until_back(), "limits: waiting for Redis")

    async def _until_back(self) -> None:
        while self._away:
            await asyncio.sleep(PAUSE)
            try:
                await self._try()
            except Exception as error:
                log.debug("Redis at %s is still away: %s", self._place, type(error).__name__)

    def _offset(self) -> int:
        return self._clock.offset // MICROSECOND

    def _now(self) -> int:
        return time.monotonic_ns() // 1000 + self._offset()
