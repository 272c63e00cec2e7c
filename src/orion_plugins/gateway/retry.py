"""Retries: what may be sent a second time is, when an upstream failed in a way that may pass (G51)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from orion_plugins.gateway.circuit import Circuit
from orion_plugins.gateway.client import (
    Body,
    Gone,
    Headers,
    PoolFull,
    Response,
    Transport,
    UpstreamError,
    UpstreamUnanswered,
    UpstreamUnreachable,
)
from orion_plugins.gateway.replay import Replay
from orion_plugins.gateway.retry_budget import RetryBudget

RETRIES: Final = 2
BACKOFF: Final = 0.05
"""Seconds before the first retry at the most; twice as many before the second."""
LONGEST_ASKED: Final = 1.0
"""Seconds of a Retry-After that are waited for; an upstream that asks for more gets no retry."""
REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_PASSING: Final = frozenset({502, 503, 504})


class Retry:
    """A `Transport` that sends a request to `inner` again, twice at most.

    Only methods that do no harm when repeated, or a request with Idempotency-Key; only after a connect error, a
    connection that ended before the first byte of an answer, or 502, 503, 504; only while `circuit` is closed, the
    deadline is not reached and `budget` has room; and only if the same body can be sent from its beginning. Otherwise
    the failure is handed on as it came. `pause`, `time` and `chance` are for tests.
    """

    def __init__(
        self,
        inner: Transport,
        circuit: Circuit,
        *,
        budget: RetryBudget | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        time: Callable[[], float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._circuit = circuit
        self._budget = budget or RetryBudget()
        self._pause = pause
        self._time = time
        self._chance = chance

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
        """Send one request, and again where that is allowed and may help."""
        budget = self._budget
        budget.live += 1
        retries, holds_place, sent = 0, False, False
        may_repeat = method in REPEATABLE or any(name == b"idempotency-key" and value for name, value in headers)
        if may_repeat and not isinstance(body, bytes):
            body = Replay(body)
            gone = gone and body.watching(gone)
        try:
            while True:
                response: Response | None = None
                failure: UpstreamError | None = None
                try:
                    response = await self._inner.send(
                        method, target, headers, body, length=length, gone=gone, deadline=deadline
                    )
                except UpstreamError as error:
                    error.retries = retries
                    sent = error.sent = error.sent or sent  # of all attempts, not of the last one alone
                    if not may_repeat or not _passing(error):
                        raise
                    failure = error
                else:
                    sent = True
                    response.retries = retries
                    if not may_repeat or response.status not in _PASSING:
                        return response
                wait = self._wait(retries, response, body, deadline)
                holds_place = holds_place or (wait is not None and budget.take())
                if wait is None or not holds_place or not self._circuit.repeated(unreachable=_unreachable(failure)):
                    if response is not None:
                        return response
                    assert failure is not None  # there was no response
                    raise failure
                if response is not None:
                    response.abort()
                retries += 1
                await self._pause(wait)
        finally:
            budget.live -= 1
            if holds_place:
                budget.give_back()

    def _wait(self, retries: int, response: Response | None, body: Body, deadline: float | None) -> float | None:
        """Seconds to wait before the next attempt, None when there is to be none."""
        if retries >= RETRIES or self._circuit.state != "closed" or (isinstance(body, Replay) and not body.possible):
            return None
        asked = None if response is None else _retry_after(response.headers)
        wait = BACKOFF * 2**retries * self._chance() if asked is None else asked
        if wait > LONGEST_ASKED:
            return None
        if deadline is not None:
            now = (self._time or asyncio.get_running_loop().time)()
            if now + wait >= deadline:
                return None
        return wait


def _passing(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamUnreachable | UpstreamUnanswered) and not isinstance(error, PoolFull)


def _unreachable(failure: UpstreamError | None) -> bool:
    return isinstance(failure, UpstreamUnreachable)


def _retry_after(headers: Headers) -> float | None:
    """The seconds that Retry-After asks for, None without one. A date asks for more than anybody waits here."""
    for name, value in headers:
        if name == b"retry-after":
            return int(value) if value.isdigit() and len(value) < 10 else float("inf")
    return None
