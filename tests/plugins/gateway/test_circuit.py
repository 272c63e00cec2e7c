"""The state of a circuit breaker: by example, and against a small model of it."""

from __future__ import annotations

import logging

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orion_plugins.gateway.circuit import Circuit
from orion_plugins.gateway.client import BreakerOpen


@attrs.define
class Time:
    """A clock that a test moves, in seconds."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def made(time: Time, chance: float = 0.0) -> Circuit:
    return Circuit("shop", time, chance=lambda: chance)


def fail(circuit: Circuit, times: int = 1) -> None:
    for _ in range(times):
        circuit.failed(circuit.admit())


def succeed(circuit: Circuit, times: int = 1) -> None:
    for _ in range(times):
        circuit.succeeded(circuit.admit())


def opened(time: Time, chance: float = 0.0) -> Circuit:
    circuit = made(time, chance)
    fail(circuit, 20)
    assert circuit.state == "open"
    return circuit


def test_it_opens_when_half_of_twenty_calls_failed() -> None:
    """G50."""
    circuit = made(Time())
    succeed(circuit, 10)
    fail(circuit, 9)
    assert circuit.state == "closed"
    fail(circuit)
    assert circuit.state == "open"


def test_nineteen_failures_are_too_few_and_a_smaller_share_too_small() -> None:
    """G50."""
    few, many = made(Time()), made(Time())
    fail(few, 19)
    assert few.state == "closed"
    for _ in range(100):
        succeed(many, 11)
        fail(many, 10)
    assert many.state == "closed"


def test_only_the_last_ten_seconds_count() -> None:
    """G50."""
    time = Time()
    circuit = made(time)
    fail(circuit, 19)
    time.now += 10.1
    fail(circuit, 19)
    assert circuit.state == "closed"
    time.now += 9.8
    fail(circuit)
    assert circuit.state == "open"


def test_five_connect_errors_in_a_row_open_it() -> None:
    """G50."""
    circuit = made(Time())
    for _ in range(4):
        circuit.failed(circuit.admit(), unreachable=True)
    succeed(circuit)
    for _ in range(4):
        circuit.failed(circuit.admit(), unreachable=True)
    fail(circuit)
    for _ in range(4):
        circuit.failed(circuit.admit(), unreachable=True)
    assert circuit.state == "closed"
    circuit.failed(circuit.admit(), unreachable=True)
    assert circuit.state == "open"


def test_an_open_one_refuses_and_says_how_long() -> None:
    """G50."""
    time = Time()
    circuit = opened(time)
    time.now += 4
    with pytest.raises(BreakerOpen) as caught:
        circuit.admit()
    assert (caught.value.retry_after, caught.value.sent, circuit.refused) == (6.0, False, 1)


def test_it_stays_open_twice_as_long_each_time_up_to_two_minutes() -> None:
    """G50."""
    time = Time()
    circuit = opened(time)
    for rest in (10, 20, 40, 80, 120, 120, 120):
        time.now += rest - 0.01
        with pytest.raises(BreakerOpen):
            circuit.admit()
        time.now += 0.02
        fail(circuit)
        assert circuit.state == "open"
    time.now += 121
    succeed(circuit, 3)
    assert circuit.state == "closed"
    fail(circuit, 20)
    time.now += 10.01
    assert circuit.admit()


def test_jitter_shortens_the_rest_by_a_tenth_at_most() -> None:
    """G50: several gateways do not probe in the same moment."""
    time = Time()
    circuit = opened(time, chance=0.999)
    time.now += 8.9
    with pytest.raises(BreakerOpen):
        circuit.admit()
    time.now += 0.2
    circuit.admit()


def test_three_probes_go_at_once_and_three_answers_close_it() -> None:
    """G50."""
    time = Time()
    circuit = opened(time)
    time.now += 10
    tickets = [circuit.admit() for _ in range(3)]
    assert circuit.state == "half_open"
    with pytest.raises(BreakerOpen):
        circuit.admit()
    for ticket in tickets[:2]:
        circuit.succeeded(ticket)
    with pytest.raises(BreakerOpen):
        circuit.admit()  # one is still out, and it decides
    circuit.succeeded(tickets[2])
    assert circuit.state == "closed"


def test_one_failed_probe_opens_it_again() -> None:
    """G50."""
    time = Time()
    circuit = opened(time)
    time.now += 10
    first, second = circuit.admit(), circuit.admit()
    circuit.succeeded(first)
    circuit.failed(second)
    assert circuit.state == "open"


def test_a_probe_that_never_comes_back_does_not_hold_its_place_for_ever() -> None:
    """G50: it counts as failed when its deadline has passed."""
    time = Time()
    circuit = opened(time)
    time.now += 10
    for _ in range(3):
        circuit.admit()
    time.now += 10
    with pytest.raises(BreakerOpen):
        circuit.admit()
    assert circuit.state == "open"
    time.now += 20
    succeed(circuit, 3)
    assert circuit.state == "closed"


def test_a_probe_whose_client_left_gives_its_place_back() -> None:
    """G50: a client that aborts is no failure, and no sign of life."""
    time = Time()
    circuit = opened(time)
    time.now += 10
    for _ in range(10):
        circuit.abandoned(circuit.admit())
    assert circuit.state == "half_open"
    succeed(circuit, 3)
    assert circuit.state == "closed"


def test_what_comes_back_after_a_change_counts_no_more() -> None:
    time = Time()
    circuit = made(time)
    late = [circuit.admit() for _ in range(30)]
    fail(circuit, 20)
    time.now += 10
    for ticket in late[:15]:
        circuit.succeeded(ticket)
    assert circuit.state == "open"
    probes = [circuit.admit() for _ in range(3)]
    for ticket in late[15:]:
        circuit.failed(ticket, unreachable=True)
    assert circuit.state == "half_open"
    for ticket in probes:
        circuit.succeeded(ticket)
    assert circuit.state == "closed"


def test_state_and_transitions_can_be_seen_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """G50."""
    time = Time()
    with caplog.at_level(logging.INFO, logger="orion.gateway.breaker"):
        circuit = opened(time)
        time.now += 10
        succeed(circuit, 3)
    assert circuit.transitions == {("closed", "open"): 1, ("open", "half_open"): 1, ("half_open", "closed"): 1}
    told = [(vars(each)["upstream"], vars(each)["before"], vars(each)["state"]) for each in caplog.records]
    assert told == [("shop", "closed", "open"), ("shop", "open", "half_open"), ("shop", "half_open", "closed")]


# -- against a model


@attrs.define
class Call:
    """A call under way: since which change of state, and, for a probe, until when."""

    change: int
    probe: bool
    deadline: float


@attrs.define
class Model:
    """The breaker as G50 has it, with lists instead of counts."""

    state: str = "closed"
    change: int = 0
    until: float = 0.0
    opened: int = 0
    ended: list[tuple[float, bool]] = attrs.field(factory=list)
    connects: int = 0
    alive: int = 0
    out: list[Call] = attrs.field(factory=list)

    def turn(self, state: str) -> None:
        self.state, self.change = state, self.change + 1
        self.ended, self.connects, self.alive = [], 0, 0

    def open(self, now: float) -> None:
        self.until = now + min(120.0, 10.0 * 2**self.opened)
        self.opened += 1
        self.turn("open")

    def probes(self) -> list[Call]:
        return [call for call in self.out if call.probe and call.change == self.change]

    def admit(self, now: float) -> bool:
        if self.state == "open" and now >= self.until:
            self.turn("half_open")
        if self.state == "half_open":
            if any(call.deadline <= now for call in self.probes()):
                self.open(now)
            elif len(self.probes()) + self.alive < 3:
                self.out.append(Call(self.change, True, now + 10))
                return True
        elif self.state == "closed":
            self.out.append(Call(self.change, False, 0.0))
            return True
        return False

    def end(self, index: int, how: str, now: float) -> None:
        call = self.out.pop(index)
        if call.change != self.change or how == "abandoned":
            return
        if call.probe:
            if how != "well":
                self.open(now)
                return
            self.alive += 1
            if self.alive == 3:
                self.opened = 0
                self.turn("closed")
            return
        self.ended.append((now, how != "well"))
        self.connects = self.connects + 1 if how == "unreachable" else 0
        recent = [failed for at, failed in self.ended if int(at / 0.1) > int(now / 0.1) - 100]
        if (len(recent) >= 20 and sum(recent) * 2 >= len(recent)) or self.connects >= 5:
            self.open(now)


STEPS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0.125, 1.0, 5.0, 9.875, 10.0, 20.0, 40.0, 130.0])),
    st.tuples(st.just("call"), st.integers(1, 12)),
    *[st.tuples(st.just(end), st.integers(0, 40)) for end in ("well", "failed", "failed", "unreachable", "abandoned")],
    # Calls that end at once: without them chance alone would hardly ever open it, and never close it.
    *[st.tuples(st.just(f"{end} at once"), st.integers(1, 10)) for end in ("well", "failed", "unreachable")],
)


class Both:
    """The breaker and its model, told the same."""

    def __init__(self) -> None:
        self.time = Time()
        self.circuit, self.model = made(self.time), Model()
        self.tickets: list[int] = []

    def admit(self) -> bool:
        if self.model.admit(self.time.now):
            self.tickets.append(self.circuit.admit())
            return True
        with pytest.raises(BreakerOpen) as caught:
            self.circuit.admit()
        if self.model.state == "open":
            assert caught.value.retry_after == self.model.until - self.time.now
        assert self.circuit.state == self.model.state
        return False

    def end(self, index: int, how: str) -> None:
        ticket = self.tickets.pop(index)
        if how == "well":
            self.circuit.succeeded(ticket)
        elif how == "abandoned":
            self.circuit.abandoned(ticket)
        else:
            self.circuit.failed(ticket, unreachable=how == "unreachable")
        self.model.end(index, how, self.time.now)
        assert self.circuit.state == self.model.state

    def take(self, what: str, much: float) -> None:
        if what == "pass":
            self.time.now += much
        elif what == "call":
            for _ in range(int(much)):
                self.admit()
        elif what.endswith(" at once"):
            for _ in range(int(much)):
                if self.admit():
                    self.end(-1, what.removesuffix(" at once"))
        elif self.tickets:
            self.end(int(much) % len(self.tickets), what)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=100))
def test_it_does_what_the_model_does(steps: list[tuple[str, float]]) -> None:
    """G50: whatever calls begin, end in whatever order, and however time passes."""
    both = Both()
    for what, much in steps:
        both.take(what, much)
