"""What all limits must do."""

from __future__ import annotations

import abc
import asyncio
import random
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest

from orion_core.ports.limits import MICROSECONDS, Limits, Policy

HOUR = 3600
DAY = 86_400


class LimitsSuite(abc.ABC):
    """The conformance suite of the port `Limits`: a test class subclasses it and says how to open some.

    Its windows are hours and its advances minutes, so that the time which really passes meanwhile decides nothing.
    """

    @abc.abstractmethod
    def limits(self) -> AbstractAsyncContextManager[Limits]:
        """Open limits of its own with no counts, closed at the end."""

    @abc.abstractmethod
    def advance(self, by: timedelta) -> None:
        """Move the clock of all limits of this test."""

    @pytest.mark.parametrize("quota", [1, 2, 7, 100])
    async def test_a_quota_is_spent_to_the_last_and_no_further(self, quota: int) -> None:
        """G20: request N+1 of N is refused exactly."""
        policy = Policy("calls", quota, DAY)
        async with self.limits() as limits:
            found = [await limits.spend(policy, "ada") for _ in range(quota + 3)]

        assert [verdict.allowed for verdict in found] == [True] * quota + [False] * 3
        assert [verdict.remaining for verdict in found] == [*reversed(range(quota)), 0, 0, 0]
        assert all(0 < verdict.wait <= policy.interval / MICROSECONDS for verdict in found)

    async def test_however_many_ask_at_once_the_quota_holds(self) -> None:
        """G20: 50 parallel clients."""
        policy = Policy("calls", 100, DAY)
        async with self.limits() as limits:

            async def client() -> int:
                return sum([(await limits.spend(policy, "ada")).allowed for _ in range(5)])

            allowed = await asyncio.gather(*(client() for _ in range(50)))

        assert sum(allowed) == 100

    async def test_what_was_spent_comes_back_one_by_one(self) -> None:
        policy = Policy("calls", 4, 4 * HOUR)
        async with self.limits() as limits:
            for _ in range(4):
                assert (await limits.spend(policy, "ada")).allowed
            self.advance(timedelta(minutes=59))
            assert not (await limits.spend(policy, "ada")).allowed
            self.advance(timedelta(minutes=1))
            assert [(await limits.spend(policy, "ada")).allowed for _ in range(2)] == [True, False]
            self.advance(timedelta(hours=2))
            assert [(await limits.spend(policy, "ada")).allowed for _ in range(3)] == [True, True, False]

    async def test_nothing_is_saved_up_beyond_the_quota(self) -> None:
        policy = Policy("calls", 3, 3 * HOUR)
        async with self.limits() as limits:
            assert (await limits.spend(policy, "ada")).allowed
            self.advance(timedelta(days=30))
            assert [(await limits.spend(policy, "ada")).allowed for _ in range(4)] == [True, True, True, False]

    async def test_no_edge_of_a_window_allows_a_double_burst(self) -> None:
        """G20: a fixed window would allow 10 at its end and 10 more a moment later."""
        policy = Policy("calls", 10, 10 * HOUR)
        async with self.limits() as limits:
            assert (await limits.spend(policy, "ada")).allowed
            self.advance(timedelta(hours=9, minutes=59))
            before = sum([(await limits.spend(policy, "ada")).allowed for _ in range(20)])
            self.advance(timedelta(minutes=2))
            after = sum([(await limits.spend(policy, "ada")).allowed for _ in range(20)])

        assert (before, after) == (10, 0)

    async def test_the_wait_that_is_told_works(self) -> None:
        """G22: whoever waits as long as was said is let in, and was not told to wait for no reason."""
        policy = Policy("calls", 3, 3 * HOUR)
        async with self.limits() as limits:
            for _ in range(3):
                await limits.spend(policy, "ada")
            self.advance(timedelta(minutes=25))
            refused = await limits.spend(policy, "ada")
            assert not refused.allowed
            self.advance(timedelta(seconds=refused.wait - 60))
            assert not (await limits.spend(policy, "ada")).allowed
            self.advance(timedelta(seconds=60))
            assert (await limits.spend(policy, "ada")).allowed

    async def test_what_is_refused_costs_nothing(self) -> None:
        policy = Policy("calls", 2, 2 * HOUR)
        async with self.limits() as limits:
            assert [(await limits.spend(policy, "ada")).allowed for _ in range(50)] == [True, True, *[False] * 48]
            self.advance(timedelta(hours=1))
            assert (await limits.spend(policy, "ada")).allowed

    async def test_keys_and_policies_are_counted_apart(self) -> None:
        login, reset = Policy("login", 1, DAY), Policy("reset", 1, DAY)
        async with self.limits() as limits:
            spent = [
                await limits.spend(policy, key)
                for policy, key in ((login, "ada"), (login, "bob"), (reset, "ada"), (reset, "bob"))
            ]
            again = await limits.spend(login, "ada")

        assert [verdict.allowed for verdict in spent] == [True] * 4
        assert not again.allowed

    @pytest.mark.parametrize("key", ["", "a b", "a\r\nb", "grüße/☃", "\ud83d", "a:b*?[c]", "k" * 2000])
    async def test_any_text_is_a_key(self, key: str) -> None:
        policy = Policy("calls", 1, DAY)
        async with self.limits() as limits:
            assert [(await limits.spend(policy, key)).allowed for _ in range(2)] == [True, False]
            assert (await limits.spend(policy, key + "2")).allowed

    @pytest.mark.parametrize("seed", range(5))
    async def test_it_agrees_with_a_queue(self, seed: int) -> None:
        """G20: a counter with N places, each taken for one interval after the one before: the simplest model."""
        chance = random.Random(seed)  # noqa: S311 - reproducible, and no secret
        quota = chance.randint(1, 6)
        policy, departures, now = Policy("calls", quota, quota * HOUR), [0], 0
        async with self.limits() as limits:
            for _ in range(60):
                step = 1800 * chance.choice([0, 0, 0, 1, 1, 2, 3, 8])
                self.advance(timedelta(seconds=step))
                now += step
                waiting = [each for each in departures if each > now]
                verdict = await limits.spend(policy, "ada")
                assert verdict.allowed == (len(waiting) < quota)
                if verdict.allowed:
                    departures.append(max(now, departures[-1]) + HOUR)
                    assert verdict.remaining == quota - len(waiting) - 1

    async def test_a_question_that_nobody_waits_for_leaves_the_others_right(self) -> None:
        policy = Policy("calls", 20, DAY)
        async with self.limits() as limits:
            tasks = [asyncio.create_task(limits.spend(policy, str(number))) for number in range(20)]
            for turns, task in enumerate(tasks):
                for _ in range(turns % 5):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            found = [await limits.spend(policy, str(number)) for number in range(20)]

        assert all(verdict.allowed and verdict.remaining >= 18 for verdict in found)

    async def test_limits_that_can_be_reached_pass_their_check(self) -> None:
        async with self.limits() as limits:
            assert (await limits.check()).status == "pass"
