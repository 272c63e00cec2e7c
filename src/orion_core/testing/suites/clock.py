"""What every clock must do."""

from __future__ import annotations

import abc
from datetime import UTC, datetime, timedelta

from orion_core.ports.clock import Clock


class ClockSuite(abc.ABC):
    """The conformance suite of the port `Clock`: a test class subclasses it and says how to make one.

    `can_move` declares that `advance` works; another clock is never ahead of the machine's.
    """

    can_move: bool = False

    @abc.abstractmethod
    def clock(self) -> Clock:
        """A new clock."""

    def advance(self, clock: Clock, by: timedelta) -> None:
        """Move `clock` forward by `by`; to be given where `can_move`."""
        raise NotImplementedError("advance: give it where can_move is declared")

    def test_a_clock_tells_utc(self) -> None:
        assert self.clock().now().tzinfo is UTC

    def test_a_new_clock_agrees_with_the_machine(self) -> None:
        clock = self.clock()
        before = datetime.now(UTC)
        now = clock.now()
        assert before - timedelta(minutes=1) <= now <= datetime.now(UTC) + timedelta(minutes=1)
        assert clock.offset == timedelta(0)

    def test_a_clock_never_runs_backwards(self) -> None:
        clock = self.clock()
        times = [clock.now() for _ in range(1000)]
        assert times == sorted(times)

    def test_an_advance_shows_at_once_in_time_and_offset(self) -> None:
        clock = self.clock()
        if not self.can_move:
            assert clock.offset == timedelta(0)
            return
        before = clock.now()
        self.advance(clock, timedelta(days=30))
        assert clock.now() - before >= timedelta(days=30)
        assert clock.offset == timedelta(days=30)
        self.advance(clock, timedelta(seconds=1))
        assert clock.offset == timedelta(days=30, seconds=1)
