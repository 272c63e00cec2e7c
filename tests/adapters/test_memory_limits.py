"""The limits in memory keep the promises of their port, and their bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.adapters.memory_limits import MemoryLimits
from orion_core.adapters.no_limits import NoLimits
from orion_core.ports.limits import Limits, Policy
from orion_core.testing.clock import MovableClock
from orion_core.testing.suites.limits import LimitsSuite


class TestMemoryLimits(LimitsSuite):
    def setup_method(self) -> None:
        self.clock = MovableClock()

    @asynccontextmanager
    async def limits(self) -> AsyncIterator[Limits]:
        limits = MemoryLimits(self.clock)
        yield limits
        await limits.aclose()

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)


@given(
    quota=st.integers(1, 40),
    window=st.integers(1, 100),
    pauses=st.lists(st.integers(0, 3_000_000) | st.sampled_from([0, 0, 0, 1, 25_000, 1_000_000]), max_size=120),
)
def test_it_agrees_with_a_queue_to_the_microsecond(quota: int, window: int, pauses: list[int]) -> None:
    """G20, G22: a counter with N places, each taken for one interval after the one before."""
    policy, clock = Policy("calls", quota, window), MovableClock()
    limits = MemoryLimits(clock, ticks=lambda: 0)

    async def play() -> None:
        departures, now = [0], 0
        for pause in pauses:
            now += pause
            clock.advance(timedelta(microseconds=pause))
            waiting = [each for each in departures if each > now]
            verdict = await limits.spend(policy, "ada")
            assert verdict.allowed == (len(waiting) < quota)
            if verdict.allowed:
                departures.append(max(now, departures[-1]) + policy.interval)
                assert verdict.remaining == quota - len(waiting) - 1
            else:
                # As soon as one has left there is a place.
                assert round(verdict.wait * 1_000_000) == waiting[0] - now

    asyncio.run(play())


@given(quota=st.integers(1, 1_000_000), window=st.integers(1, 366 * 86_400))
def test_over_a_window_never_more_than_the_quota_comes_back(quota: int, window: int) -> None:
    policy = Policy("calls", quota, window)

    assert policy.interval * quota == policy.capacity >= window * 1_000_000


async def test_keys_that_were_not_asked_for_the_longest_time_begin_anew() -> None:
    policy = Policy("calls", 1, 86_400)
    limits = MemoryLimits(MovableClock(), most=2)
    for key in ("a", "b", "c"):
        assert (await limits.spend(policy, key)).allowed

    assert [(await limits.spend(policy, key)).allowed for key in ("c", "b", "a")] == [False, False, True]


async def test_a_share_is_never_nothing() -> None:
    """G21."""
    assert [Policy("calls", 10, 60).share(of).quota for of in (1, 3, 10, 11)] == [10, 3, 1, 1]


@pytest.mark.parametrize(
    ("quota", "window", "named"), [(0, 60, "quota"), (2_000_000, 60, "quota"), (5, 0, "window"), (5, 10**9, "window")]
)
def test_a_policy_that_cannot_be_counted_is_refused(quota: int, window: int, named: str) -> None:
    with pytest.raises(ValueError, match=f"{named} must be from"):
        Policy("calls", quota, window)


async def test_no_limits_allow_everything() -> None:
    limits, policy = NoLimits(), Policy("calls", 1, 86_400)

    assert [(await limits.spend(policy, "ada")).allowed for _ in range(3)] == [True] * 3
    assert (await limits.check()).status == "pass"
