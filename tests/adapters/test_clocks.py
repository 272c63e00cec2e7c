"""The machine's clock, and the one that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orion_core.adapters import system_clock
from orion_core.adapters.system_clock import SystemClock
from orion_core.ports.clock import Clock
from orion_core.testing.clock import MovableClock
from orion_core.testing.suites.clock import ClockSuite


class TestSystemClock(ClockSuite):
    def clock(self) -> Clock:
        return SystemClock()

    def test_it_stands_still_while_the_machines_clock_is_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = SystemClock()
        before = clock.now()
        times = [before - timedelta(hours=1), before + timedelta(seconds=1)]

        class SetBack:
            @staticmethod
            def now(zone: object) -> datetime:
                assert zone is UTC
                return times.pop(0)

        monkeypatch.setattr(system_clock, "datetime", SetBack)
        assert clock.now() == before
        assert clock.now() == before + timedelta(seconds=1)


class TestMovableClock(ClockSuite):
    can_move = True

    def clock(self) -> Clock:
        return MovableClock()

    def advance(self, clock: Clock, by: timedelta) -> None:
        assert isinstance(clock, MovableClock)
        clock.advance(by)

    def test_it_refuses_to_go_back(self) -> None:
        with pytest.raises(ValueError, match="never runs backwards"):
            MovableClock().advance(timedelta(seconds=-1))

    def test_it_goes_on_by_itself_after_an_advance(self) -> None:
        clock = MovableClock()
        clock.advance(timedelta(days=1))
        assert datetime.now(UTC) + timedelta(days=1) <= clock.now()

    def test_stands_still_if_told_what_time_it_is(self) -> None:
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        clock = MovableClock(at)
        assert clock.now() == clock.now() == at
        clock.advance(timedelta(days=30))
        assert clock.now() == at + timedelta(days=30)
