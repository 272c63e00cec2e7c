"""A clock that tests move forward."""

from __future__ import annotations

from datetime import datetime, timedelta

from orion_core.adapters.system_clock import SystemClock


class MovableClock:
    """The machine's clock, ahead of it by `offset`; keeps the port `Clock`.

    One that is told what time it is, in UTC, stands still but for its advances: for tests of exact moments.
    """

    def __init__(self, at: datetime | None = None) -> None:
        self._at = at
        self._clock = SystemClock()
        self._offset = timedelta(0)

    @property
    def offset(self) -> timedelta:
        """The sum of all advances."""
        return self._offset

    def now(self) -> datetime:
        """The time now, in UTC."""
        return (self._at or self._clock.now()) + self._offset

    def advance(self, by: timedelta) -> None:
        """Let `by` pass at once; raises ValueError for a negative time, since a clock never runs backwards."""
        if by < timedelta(0):
            raise ValueError(f"by: must not be negative, a clock never runs backwards (got {by})")
        self._offset += by
