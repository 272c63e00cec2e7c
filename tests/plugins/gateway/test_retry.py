"""Retries: what is sent again, how often, after how long, and what never is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orion_plugins.gateway.circuit import Circuit
from orion_plugins.gateway.client import (
    BreakerOpen,
    ClientGone,
    Headers,
    PoolFull,
    Response,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnanswered,
    UpstreamUnreachable,
)
from orion_plugins.gateway.fallback import Kept
from orion_plugins.gateway.replay import Replay
from orion_plugins.gateway.retry import Retry
from orion_plugins.gateway.retry_budget import RetryBudget

KEY = [(b"idempotency-key", b'"one"')]
End = Callable[[], Response | UpstreamError]


def status(number: int, *headers: tuple[bytes, bytes]) -> End:
    return lambda: Kept(number, list(headers), b"")


def raising(error: type[UpstreamError]) -> End:
    return lambda: error("no")


@attrs.define
class Scripted:
    """A `Transport` that ends one request after the other as told, the last way for ever; it reads bodies whole."""

    ends: list[End]
    bodies: list[bytes] = attrs.field(factory=list)

    async def send(
        self, method: str, target: bytes, headers: Headers, body: Any = b"", *, gone: Any = None, **_: Any
    ) -> Response:
        self.bodies.append(body if isinstance(body, bytes) else b"".join([part async for part in body]))
        found = self.ends[min(len(self.bodies), len(self.ends)) - 1]()
        if isinstance(found, UpstreamError):
            raise found
        return found


@attrs.define
class Waits:
    """Stands in for `asyncio.sleep`, and for the clock that would move meanwhile."""

    lasted: list[float] = attrs.field(factory=list)

    async def __call__(self, seconds: float) -> None:
        self.lasted.append(seconds)

    def time(self) -> float:
        return 100.0 + sum(self.lasted)


def retrying(*ends: End, budget: RetryBudget | None = None) -> tuple[Retry, Scripted, Waits, Circuit]:
    waits = Waits()
    inner, circuit = Scripted(list(ends)), Circuit("shop", waits.time)
    retry = Retry(inner, circuit, budget=budget, pause=waits, time=waits.time, chance=lambda: 1.0)
    return retry, inner, waits, circuit


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


PASSING = {
    "connect error": raising(UpstreamUnreachable),
    "reset before the first byte": raising(UpstreamUnanswered),
    "502": status(502),
    "503": status(503),
    "504": status(504),
}


@pytest.mark.parametrize("failure", PASSING)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_what_does_no_harm_twice_is_sent_again(method: str, failure: str) -> None:
    """G51."""
    retry, inner, waits, _ = retrying(PASSING[failure], status(200))
    response = await retry.send(method, b"/", (), b"same")

    assert (response.status, response.retries) == (200, 1)
    assert inner.bodies == [b"same", b"same"]
    assert waits.lasted == [0.05]


@pytest.mark.parametrize("failure", PASSING)
@pytest.mark.parametrize("method", ["POST", "PATCH", "MADE-UP"])
async def test_anything_else_is_sent_once(method: str, failure: str) -> None:
    """G51."""
    retry, inner, _, _ = retrying(PASSING[failure], status(200))
    with contextlib.suppress(UpstreamError):
        assert (await retry.send(method, b"/", (), b"x")).status in (502, 503, 504)
    assert inner.bodies == [b"x"]


@pytest.mark.parametrize("failure", PASSING)
async def test_a_post_with_a_key_is_sent_again_byte_for_byte(failure: str) -> None:
    """G51."""
    retry, inner, _, _ = retrying(PASSING[failure], status(201))
    assert (await retry.send("POST", b"/", KEY, parts(b"one ", b"two "), length=None)).status == 201
    assert inner.bodies == [b"one two ", b"one two "]


async def test_an_empty_key_is_none() -> None:
    """G51."""
    retry, inner, _, _ = retrying(status(503), status(200))
    assert (await retry.send("POST", b"/", [(b"idempotency-key", b"")], b"x")).status == 503
    assert len(inner.bodies) == 1


@pytest.mark.parametrize(
    "end",
    [
        raising(UpstreamTimeout),
        raising(UpstreamBroken),
        raising(PoolFull),
        lambda: BreakerOpen("open", 10.0),
        status(200),
        status(404),
        status(429),
        status(500),
        status(501),
    ],
)
async def test_no_other_end_is_followed_by_another_attempt(end: End) -> None:
    """G51: a timeout, an answer that broke off, another status, a breaker that is open."""
    retry, inner, _, _ = retrying(end, status(200))
    with contextlib.suppress(UpstreamError):
        await retry.send("GET", b"/", ())
    assert len(inner.bodies) == 1


async def test_there_are_two_retries_at_most_each_after_a_longer_wait() -> None:
    """G51."""
    retry, inner, waits, _ = retrying(status(503))
    response = await retry.send("GET", b"/", ())

    assert (response.status, response.retries, len(inner.bodies)) == (503, 2, 3)
    assert waits.lasted == [0.05, 0.1]


async def test_an_error_says_how_often_it_was_tried() -> None:
    retry, _, _, _ = retrying(raising(UpstreamUnreachable))
    with pytest.raises(UpstreamUnreachable) as caught:
        await retry.send("GET", b"/", ())
    assert caught.value.retries == 2


@pytest.mark.parametrize(("asked", "waited"), [(b"0", [0.0]), (b"1", [1.0]), (b"2", []), (b"soon", []), (b"-1", [])])
async def test_retry_after_of_up_to_a_second_is_honoured(asked: bytes, waited: list[float]) -> None:
    """G51: an upstream that asks for more gets no retry at all."""
    retry, inner, waits, _ = retrying(status(503, (b"retry-after", asked)), status(200))
    await retry.send("GET", b"/", ())

    assert waits.lasted == waited
    assert len(inner.bodies) == 1 + len(waited)


async def test_no_retry_goes_past_the_deadline() -> None:
    """G51: one deadline for all attempts."""
    retry, inner, waits, _ = retrying(status(503))
    await retry.send("GET", b"/", (), deadline=waits.time() + 0.1)
    assert (len(inner.bodies), waits.lasted) == (2, [0.05])


async def test_none_follows_once_the_breaker_is_open() -> None:
    """G51: each attempt counts for the breaker, and one that opens it is the last."""
    retry, inner, _, circuit = retrying(raising(UpstreamUnreachable))
    for _ in range(4):
        circuit.failed(circuit.admit(), unreachable=True)
    with pytest.raises(UpstreamUnreachable):
        await retry.send("GET", b"/", ())

    assert (circuit.state, len(inner.bodies)) == ("open", 1)


async def test_a_probe_is_not_repeated() -> None:
    """G50, G51."""
    retry, inner, _, circuit = retrying(status(503))
    for _ in range(20):
        circuit.failed(circuit.admit())
    circuit._until = 0.0
    circuit.admit()
    assert circuit.state == "half_open"
    await retry.send("GET", b"/", ())
    assert len(inner.bodies) == 1


async def test_a_budget_that_is_used_up_allows_no_retry() -> None:
    """G51."""
    budget = RetryBudget(least=0)
    retry, inner, _, _ = retrying(status(503), budget=budget)
    assert (await retry.send("GET", b"/", ())).status == 503
    assert (len(inner.bodies), budget.live, budget.retrying) == (1, 0, 0)


async def test_whatever_happens_the_budget_gets_everything_back() -> None:
    """G51."""
    budget = RetryBudget()
    retry, inner, _, circuit = retrying(status(503), status(200), raising(UpstreamUnreachable), budget=budget)
    await retry.send("GET", b"/", ())
    for _ in range(4):
        circuit.failed(circuit.admit(), unreachable=True)
    with pytest.raises(UpstreamUnreachable):
        await retry.send("GET", b"/", ())
    circuit.state = "closed"

    async def away(_: float) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Retry(inner, circuit, budget=budget, pause=away).send("GET", b"/", ())
    assert (budget.live, budget.retrying) == (0, 0)


async def test_a_client_that_leaves_in_its_upload_is_no_reason_to_try_again() -> None:
    """G51, G52."""

    async def leaving() -> AsyncIterator[bytes]:
        yield b"half"
        raise ClientGone("the client left")

    retry, inner, _, _ = retrying(status(200))
    with pytest.raises(ClientGone):
        await retry.send("PUT", b"/", (), leaving())
    assert inner.bodies == []


# -- bodies


async def test_a_body_past_the_bound_goes_out_whole_but_only_once() -> None:
    """G51: the copy is bounded, and what cannot be replayed is not retried."""
    retry, inner, _, _ = retrying(status(503), status(200))
    given = [b"x" * 40_000, b"y" * 40_000, b"z"]
    assert (await retry.send("PUT", b"/", (), parts(*given))).status == 503
    assert inner.bodies == [b"".join(given)]


async def test_an_attempt_that_read_half_of_a_body_is_followed_by_one_with_all_of_it() -> None:
    """G51: spring-cloud-gateway sent the second attempt without its body."""
    replay = Replay(parts(b"one ", b"two ", b"three"))
    first = aiter(replay)
    assert [await anext(first), await anext(first)] == [b"one ", b"two "]
    assert [part async for part in replay] == [b"one ", b"two ", b"three"]
    assert replay.possible


async def test_a_body_whose_parts_were_dropped_is_not_sent_again() -> None:
    """G51: who waits for the client to leave reads on, and throws away what comes."""
    replay = Replay(parts(b"one ", b"two "))
    await anext(aiter(replay))

    async def gone() -> None:
        pass

    await replay.watching(gone)()
    assert not replay.possible


async def test_a_body_that_was_read_to_its_end_may_be_watched_and_sent_again() -> None:
    replay = Replay(parts(b"one"))
    assert [part async for part in replay] == [b"one"]

    async def gone() -> None:
        pass

    await replay.watching(gone)()
    assert replay.possible
    assert [part async for part in replay] == [b"one"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(0, 9), max_size=4), st.integers(0, 100))
def test_every_attempt_begins_at_the_beginning(given: list[bytes], stops: list[int], bound: int) -> None:
    """G51: however far each attempt read, the next one reads the same bytes, or is not allowed."""

    async def scenario() -> None:
        replay = Replay(parts(*given), bound)
        for stop in stops:
            got = []
            async for part in replay:
                got.append(part)
                if len(got) >= stop:
                    break
            assert got == given[: max(1, stop)]
            if not replay.possible:
                assert sum(map(len, given)) > bound
                return
        assert [part async for part in replay] == given

    asyncio.run(scenario())


# -- the budget against a model


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["begin", "begin", "begin", "end", "take", "take", "give_back"]), max_size=200))
def test_retries_stay_within_a_fifth_of_what_is_live_but_three(steps: list[str]) -> None:
    """G51."""
    budget, live, retrying = RetryBudget(), 0, 0
    for step in steps:
        if step == "begin":
            live += 1
            budget.live += 1
        elif step == "end" and live:
            live -= 1
            budget.live -= 1
        elif step == "take":
            allowed = retrying < 3 or 5 * (retrying + 1) <= live
            assert budget.take() == allowed
            retrying += allowed
        elif step == "give_back" and retrying:
            budget.give_back()
            retrying -= 1
        assert budget.retrying == retrying
