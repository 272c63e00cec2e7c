"""Single flight: of many requests that miss the same, one asks upstream and the others wait for what it brings."""

from __future__ import annotations

import asyncio
from typing import Final, Generic, Literal, TypeVar

T = TypeVar("T")
Alone = Literal["alone"]
ALONE: Final = "alone"
"""The answer cannot be shared: everybody asks for himself."""


class Flight(Generic[T]):
    """One request under way. Whoever leads it ends it exactly once, by `land`, `split` or `fail`."""

    __slots__ = ("_flights", "_key", "_open", "_waiters")

    def __init__(self, flights: Flights[T], key: str) -> None:
        self._flights = flights
        self._key = key
        self._open = True
        self._waiters: list[asyncio.Future[T | Alone | None]] = []

    def land(self, found: T) -> None:
        """Give everybody who waits `found`."""
        self._end(found)

    def split(self) -> None:
        """Let everybody who waits ask for himself, now."""
        self._end(ALONE)

    def fail(self) -> None:
        """Nothing was brought: the one who waits longest leads next. Without effect after another end."""
        if not self._open:
            return
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._end(None)

    def _end(self, outcome: T | Alone | None) -> None:
        if not self._open:
            return
        self._open = False
        self._flights._forget(self._key)  # noqa: SLF001 - two halves of one thing
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(outcome)

    async def wait(self, seconds: float) -> T | Alone | None:
        """What the leader brought, `ALONE`, or None when this caller leads now.

        After `seconds` the answer is `ALONE`: a slow leader holds nobody up for longer.
        """
        waiter: asyncio.Future[T | Alone | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            # Told and timed out at the same moment: what was told counts, above all that this caller leads.
            return ALONE if waiter.cancelled() or not waiter.done() else waiter.result()
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result() is None:
                self.fail()  # chosen to lead and gone at the same moment: the next one must not wait for nobody
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)


class Flights(Generic[T]):
    """All flights of one process, by key; at most `most` callers wait for one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._flights: dict[str, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: str) -> tuple[Flight[T], bool] | None:
        """The flight for `key` and whether the caller leads it; None when too many wait for it already."""
        found = self._flights.get(key)
        if found is None:
            found = self._flights[key] = Flight(self, key)
            return found, True
        return None if len(found._waiters) >= self._most else (found, False)  # noqa: SLF001 - as above

    def _forget(self, key: str) -> None:
        self._flights.pop(key, None)
