"""The clock: the time of day, which tests may move.

Guarantees: `now` never runs backwards by itself. Deadlines and timeouts use the event loop's clock instead; due times
of deliveries and jobs use the database's clock plus `offset`, so that all processes agree.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        ...

    @property
    def offset(self) -> timedelta:
        """How far this clock is ahead of the machine's; zero outside tests."""
        ...
