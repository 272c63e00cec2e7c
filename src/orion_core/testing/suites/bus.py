"""What every bus must do."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import attrs
import pytest

from orion_core.context import Context, current, use
from orion_core.events import Envelope
from orion_core.ids import new_id
from orion_core.ports.bus import Bus, BusClosed, Delivery, Handler, Published, Reject, Subscription
from orion_core.testing.suites.bus_kit import BOUND, Gate, Inbox, an_event, until

RETRY_DELAYS = (0.01, 0.03)
"""The delays with which a bus under test is opened: every event is delivered three times at most."""

_PROFILE = Subscription("users.create_profile", ("user.registered",))
_WELCOME = Subscription("notifications.welcome", ("user.registered",))


@attrs.frozen
class Features:
    """What an adapter declares; each selects tests.

    `shared`: several buses, one per process, share queues. `persistent`: what was published and not handled survives
    the bus. `ordered`: with one listener at a time, events arrive as they were published.
    """

    shared: bool = False
    persistent: bool = False
    ordered: bool = False


@attrs.frozen(kw_only=True)
class DeadLetter:
    """An event that was given up, with all that E5a asks to keep."""

    envelope: Envelope
    attempts: int
    error: str
    message: str
    first_failed: datetime
    last_failed: datetime
    exchange: str
    routing_key: str


_NEEDS = "__orion_feature__"
_Test = TypeVar("_Test", bound=Callable[..., Any])


def _only_with(feature: str) -> Callable[[_Test], _Test]:
    """A test of `feature`, which adapters that do not declare it do not have."""

    def mark(test: _Test) -> _Test:
        setattr(test, _NEEDS, feature)
        return test

    return mark


class BusSuite(abc.ABC):
    """The conformance suite of the port `Bus`: a test class subclasses it and says how to open one.

    Every bus is opened with `RETRY_DELAYS`.
    """

    features: ClassVar[Features] = Features()

    @abc.abstractmethod
    def bus(self) -> AbstractAsyncContextManager[Bus]:
        """An open bus of its own, with nothing declared, closed at the end."""

    @abc.abstractmethod
    async def dead_letters(self, bus: Bus, queue: str) -> Sequence[DeadLetter]:
        """The dead letters of the listener whose queue is `queue`; looking does not remove them."""

    def another(self, bus: Bus) -> AbstractAsyncContextManager[Bus]:
        """The bus of another process beside `bus`; to be given where `shared` or `persistent`."""
        raise NotImplementedError("another: give it where shared or persistent is declared")

    async def send(self, bus: Bus, *envelopes: Envelope) -> Sequence[Published]:
        """Publish; an adapter that keeps events elsewhere first may do so here."""
        return await bus.publish(envelopes)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # What an adapter does not promise is no test of it, and no skipped one either.
        for name in dir(cls):
            feature = getattr(getattr(cls, name, None), _NEEDS, "")
            if feature and not getattr(cls.features, feature):
                setattr(cls, name, None)

    @contextlib.asynccontextmanager
    async def listening(
        self, bus: Bus, *subscriptions: tuple[Subscription, Handler], families: Sequence[str] = ("user",)
    ) -> AsyncIterator[None]:
        """Declare and subscribe all of `subscriptions`; they are stopped at the end."""
        await bus.declare([subscription for subscription, _ in subscriptions], families)
        consumers = [await bus.subscribe(subscription, handler) for subscription, handler in subscriptions]
        try:
            yield
        finally:
            for consumer in consumers:
                await consumer.stop(0)

    # Publishing and consuming

    async def test_an_event_reaches_its_listener_unchanged(self) -> None:
        """ES1: context and headers are preserved."""
        event = an_event(
            data='{"name":"Grace \\u2014 Höpper","n":1.5}',
            version=3,
            sequence=42,
            causation_id=str(new_id()),
            tracestate="vendor=1",
            originator="user:0190",
            heard=True,
            time=datetime(2024, 2, 29, 23, 59, 59, 123000, UTC),
        )
        inbox = Inbox()
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            assert await self.send(bus, event) == [Published.CONFIRMED]
            await inbox.has(1)
        (delivery,) = inbox.deliveries
        assert delivery.envelope == event
        assert delivery.attempt == 1

    async def test_the_starting_trace_is_kept_and_the_hop_is_new(self) -> None:
        """ES5."""
        event = an_event()
        inbox = Inbox()
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            await self.send(bus, event)
            await inbox.has(1)
        (delivery,) = inbox.deliveries
        assert delivery.envelope.started == event.started
        assert delivery.traceparent != event.started
        assert delivery.traceparent.split("-")[1] == event.started.split("-")[1]

    async def test_every_listener_gets_its_own_copy(self) -> None:
        profile, welcome = Inbox(), Inbox()
        events = [an_event() for _ in range(5)]
        async with self.bus() as bus, self.listening(bus, (_PROFILE, profile), (_WELCOME, welcome)):
            await self.send(bus, *events)
            await profile.heard(*events)
            await welcome.heard(*events)

    async def test_families_and_names_are_kept_apart(self) -> None:
        users, both, auth = Inbox(), Inbox(), Inbox()
        async with (
            self.bus() as bus,
            self.listening(
                bus,
                (_PROFILE, users),
                (Subscription("analytics.count", ("user.registered", "auth.signed_in")), both),
                (Subscription("notifications.warn", ("auth.signed_in",)), auth),
                families=("user", "auth"),
            ),
        ):
            await self.send(bus, an_event("user.registered"), an_event("user.renamed"), an_event("auth.signed_in"))
            await users.has(1)
            await both.has(2)
            await auth.has(1)
        assert users.names == ["user.registered"]
        assert sorted(both.names) == ["auth.signed_in", "user.registered"]
        assert auth.names == ["auth.signed_in"]

    async def test_what_was_declared_keeps_events_until_its_listener_comes(self) -> None:
        """E8: the topology stands before the relay starts."""
        event, inbox = an_event(heard=True), Inbox()
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            assert await self.send(bus, event) == [Published.CONFIRMED]
            await bus.subscribe(_PROFILE, inbox)
            await inbox.heard(event)

    async def test_declaring_again_changes_nothing(self) -> None:
        event, inbox = an_event(), Inbox()
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            await self.send(bus, event)
            for _ in range(2):
                await bus.declare([_PROFILE, _WELCOME], ["user", "auth"])
            await bus.subscribe(_PROFILE, inbox)
            await inbox.heard(event)
        assert inbox.envelopes == [event]

    async def test_publishing_nothing_is_nothing(self) -> None:
        async with self.bus() as bus:
            assert list(await bus.publish([])) == []

    async def test_outcomes_come_in_the_order_of_the_events(self) -> None:
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            events = [an_event(("user.registered", "user.unheard")[number % 2], heard=True) for number in range(6)]
            outcomes = await self.send(bus, *events)
        assert list(outcomes) == [Published.CONFIRMED, Published.UNROUTABLE] * 3

    @_only_with("ordered")
    async def test_events_arrive_in_order_with_one_listener_at_a_time(self) -> None:
        inbox = Inbox()
        events = [an_event(subject="one", sequence=number) for number in range(1, 51)]
        async with self.bus() as bus, self.listening(bus, (attrs.evolve(_PROFILE, concurrency=1), inbox)):
            await self.send(bus, *events)
            await inbox.has(len(events))
        assert inbox.envelopes == events

    # Who hears what

    async def test_a_listener_of_everything_hears_every_family(self) -> None:
        everything, profile = Inbox(), Inbox()
        events = [an_event(heard=True), an_event("user.renamed"), an_event("auth.signed_in"), an_event("order.paid")]
        async with (
            self.bus() as bus,
            self.listening(
                bus,
                (Subscription("webhooks.fan_out", ()), everything),
                (_PROFILE, profile),
                families=("user", "auth", "order"),
            ),
        ):
            assert set(await self.send(bus, *events)) == {Published.CONFIRMED}
            await everything.heard(*events)
            await profile.has(1)
        assert Counter(everything.names) == Counter(event.name for event in events)
        assert profile.envelopes == [events[0]]

    async def test_an_event_that_must_be_heard_and_reaches_nobody_is_unroutable(self) -> None:
        """E8."""
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            assert await self.send(bus, an_event("user.unheard", heard=True)) == [Published.UNROUTABLE]
            assert await self.send(bus, an_event("user.unheard")) == [Published.CONFIRMED]

    async def test_a_listener_of_everything_does_not_count_as_hearing(self) -> None:
        """E8."""
        async with self.bus() as bus, self.listening(bus, (Subscription("webhooks.fan_out", ()), Inbox())):
            assert await self.send(bus, an_event("user.unheard", heard=True)) == [Published.UNROUTABLE]
            assert await self.send(bus, an_event("user.unheard")) == [Published.CONFIRMED]

    @_only_with("shared")
    async def test_a_listener_in_two_processes_shares_its_queue(self) -> None:
        here, there = Inbox(), Inbox()
        events = [an_event() for _ in range(20)]
        async with (
            self.bus() as bus,
            self.another(bus) as other,
            self.listening(bus, (_PROFILE, here)),
            self.listening(other, (_PROFILE, there)),
        ):
            await self.send(bus, *events)
            await until(lambda: len(here.deliveries) + len(there.deliveries) >= 20, "all events")
        assert Counter(event.id for event in here.envelopes + there.envelopes) == Counter(event.id for event in events)

    @_only_with("shared")
    async def test_a_broadcast_reaches_every_process(self) -> None:
        cache = Subscription("auth.forget", ("auth.session_revoked",), broadcast=True)
        here, there = Inbox(), Inbox()
        event = an_event("auth.session_revoked")
        async with (
            self.bus() as bus,
            self.another(bus) as other,
            self.listening(bus, (cache, here)),
            self.listening(other, (cache, there)),
        ):
            await self.send(bus, event)
            await here.heard(event)
            await there.heard(event)

    async def test_a_broadcast_listener_is_not_asked_again(self) -> None:
        cache = Subscription("auth.forget", ("auth.session_revoked",), broadcast=True)
        inbox = Inbox(lambda _: ValueError("no"))
        async with self.bus() as bus, self.listening(bus, (cache, inbox), families=("auth",)):
            for _ in range(20):
                event = an_event("auth.session_revoked")
                await self.send(bus, event)
                await inbox.heard(event)
        assert len(inbox.deliveries) == 20

    # Concurrency

    async def test_handlers_run_at_once_up_to_the_limit(self) -> None:
        """E11: concurrency is bounded per listener."""
        gate = Gate()
        events = [an_event() for _ in range(7)]
        async with self.bus() as bus, self.listening(bus, (attrs.evolve(_PROFILE, concurrency=3), gate)):
            await self.send(bus, *events)
            await gate.has_begun(3)
            gate.open.set()
            await until(lambda: len(gate.done) == 7, "all events")
        assert gate.most_at_once == 3

    async def test_a_slow_listener_delays_no_other(self) -> None:
        """E11."""
        gate, inbox = Gate(), Inbox()
        events = [an_event() for _ in range(5)]
        async with (
            self.bus() as bus,
            self.listening(bus, (attrs.evolve(_PROFILE, concurrency=1), gate), (_WELCOME, inbox)),
        ):
            await self.send(bus, *events)
            await inbox.heard(*events)
            assert gate.done == []
            gate.open.set()

    async def test_many_publish_and_several_listen_at_once(self) -> None:
        inboxes = {name: Inbox() for name in ("user.registered", "auth.signed_in", "order.paid")}
        events = [an_event(name) for name in inboxes for _ in range(20)]
        async with (
            self.bus() as bus,
            self.listening(
                bus,
                *((Subscription(f"listener.{name.replace('.', '_')}", (name,)), box) for name, box in inboxes.items()),
                families=("user", "auth", "order"),
            ),
        ):
            outcomes = await asyncio.gather(*(self.send(bus, event) for event in events))
            assert {outcome for (outcome,) in outcomes} == {Published.CONFIRMED}
            for name, inbox in inboxes.items():
                await inbox.heard(*(event for event in events if event.name == name))

    async def test_nothing_of_the_publishers_context_reaches_the_handler(self) -> None:
        found: list[str] = []

        async def handler(_: Delivery) -> None:
            found.append(current().correlation_id)

        with use(Context(correlation_id="the subscriber's")):
            async with self.bus() as bus, self.listening(bus, (_PROFILE, handler)):
                with use(Context(correlation_id="the publisher's")):
                    await self.send(bus, an_event(), an_event())
                await until(lambda: len(found) == 2, "both events")
        assert "the subscriber's" not in found
        assert "the publisher's" not in found
        assert len(set(found)) == 2

    # Failing

    async def test_a_failed_delivery_comes_again_and_counts(self) -> None:
        """E5."""
        event = an_event()
        inbox = Inbox(lambda delivery: ValueError("not yet") if delivery.attempt < 3 else None)
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            await self.send(bus, event)
            await inbox.has(3)
            assert await self.dead_letters(bus, _PROFILE.queue) == []
        assert [delivery.attempt for delivery in inbox.deliveries] == [1, 2, 3]
        assert inbox.envelopes == [event] * 3

    async def test_only_the_listener_that_failed_is_asked_again(self) -> None:
        """E5: a retry goes back to the same queue, never to the others."""
        failing, other = Inbox(lambda d: ValueError("not yet") if d.attempt < 3 else None), Inbox()
        async with self.bus() as bus, self.listening(bus, (_PROFILE, failing), (_WELCOME, other)):
            await self.send(bus, an_event())
            await failing.has(3)
            await other.has(1)
        assert len(other.deliveries) == 1

    async def test_what_keeps_failing_becomes_a_dead_letter_with_its_history(self) -> None:
        """E5a: and ET8, it really is among the dead letters."""
        event = an_event()
        inbox = Inbox(lambda delivery: ValueError(f"no {delivery.attempt}"))
        before = datetime.now(UTC) - timedelta(seconds=1)
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            await self.send(bus, event)
            (letter,) = await self._dead(bus, 1)
            assert len(inbox.deliveries) == 1 + len(RETRY_DELAYS)
        assert letter.envelope == event
        assert letter.envelope.correlation_id == event.correlation_id
        assert (letter.attempts, letter.error, letter.message) == (3, "ValueError", "no 3")
        assert (letter.exchange, letter.routing_key) == ("user.events", "user.registered")
        assert before <= letter.first_failed < letter.last_failed <= datetime.now(UTC) + timedelta(seconds=1)

    async def test_a_rejected_delivery_is_dead_at_once(self) -> None:
        """E7."""
        inbox = Inbox(lambda _: Reject("it never can"))
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            await self.send(bus, an_event())
            (letter,) = await self._dead(bus, 1)
        assert len(inbox.deliveries) == 1
        assert (letter.attempts, letter.error, letter.message) == (1, "Reject", "it never can")

    async def test_others_are_handled_while_one_fails(self) -> None:
        """E6: other messages keep flowing."""
        bad, good = an_event(), [an_event() for _ in range(20)]
        inbox = Inbox(lambda delivery: ValueError("bad") if delivery.envelope == bad else None)
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            await self.send(bus, bad, *good)
            await inbox.heard(*good)
            (letter,) = await self._dead(bus, 1)
        assert letter.envelope == bad

    async def test_a_handler_whose_own_work_is_cancelled_has_failed(self) -> None:
        inbox = Inbox(lambda d: asyncio.CancelledError() if d.attempt == 1 else None)
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            await self.send(bus, an_event())
            await inbox.has(2)

    # Stopping

    async def test_a_stopped_listener_finishes_what_runs(self) -> None:
        """E14."""
        gate = Gate()
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            consumer = await bus.subscribe(_PROFILE, gate)
            first, second = an_event(), an_event()
            await self.send(bus, first)
            await gate.has_begun(1)
            stopping = asyncio.create_task(consumer.stop(BOUND))
            await asyncio.sleep(0)
            await self.send(bus, second)
            assert not stopping.done()
            gate.open.set()
            await stopping
            assert gate.done[0] == first
            # What finished does not come again; what came too late is kept.
            inbox = Inbox()
            await bus.subscribe(_PROFILE, inbox)
            if second not in gate.done:
                await inbox.heard(second)
            assert first not in inbox.envelopes

    async def test_what_was_not_finished_comes_again(self) -> None:
        """E14."""
        gate, inbox = Gate(), Inbox()
        events = [an_event() for _ in range(3)]
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            consumer = await bus.subscribe(_PROFILE, gate)
            await self.send(bus, *events)
            await gate.has_begun(3)
            await consumer.stop(0)
            assert gate.done == []
            await bus.subscribe(_PROFILE, inbox)
            await inbox.heard(*events)
            assert await self.dead_letters(bus, _PROFILE.queue) == []
        assert len(inbox.deliveries) == 3

    async def test_stopping_one_listener_leaves_the_others(self) -> None:
        stopped, other = Inbox(), Inbox()
        async with self.bus() as bus, self.listening(bus, (_WELCOME, other)):
            await bus.declare([_PROFILE], ["user"])
            consumer = await bus.subscribe(_PROFILE, stopped)
            await consumer.stop(0)
            await consumer.stop(0)
            event = an_event()
            await self.send(bus, event)
            await other.heard(event)
        assert stopped.deliveries == []

    async def test_closing_stops_everything_and_may_be_repeated(self) -> None:
        """EP12: concurrent close, with listeners at work."""
        gate = Gate()
        async with self.bus() as bus:
            await bus.declare([_PROFILE, _WELCOME], ["user"])
            consumers = [await bus.subscribe(each, gate) for each in (_PROFILE, _WELCOME)]
            await self.send(bus, an_event())
            await gate.has_begun(2)
            gate.open.set()
            await asyncio.gather(bus.aclose(), bus.aclose(), *(consumer.stop(0) for consumer in consumers))
            await bus.aclose()

    async def test_publishing_after_close_is_refused(self) -> None:
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            await bus.aclose()
            with pytest.raises(BusClosed):
                await bus.publish([an_event()])

    async def test_a_cancelled_publish_harms_nobody(self) -> None:
        inbox = Inbox()
        async with self.bus() as bus, self.listening(bus, (_PROFILE, inbox)):
            for _ in range(5):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await self.send(bus, *(an_event() for _ in range(20)))
            event = an_event()
            assert await self.send(bus, event) == [Published.CONFIRMED]
            await inbox.heard(event)

    async def test_the_check_passes(self) -> None:
        async with self.bus() as bus, self.listening(bus, (_PROFILE, Inbox())):
            assert (await bus.check()).status == "pass"

    @_only_with("persistent")
    async def test_events_outlive_the_bus(self) -> None:
        inbox = Inbox()
        events = [an_event() for _ in range(10)]
        async with self.bus() as bus:
            await bus.declare([_PROFILE], ["user"])
            await self.send(bus, *events)
            await bus.aclose()
            async with self.another(bus) as later:
                await later.declare([_PROFILE], ["user"])
                await later.subscribe(_PROFILE, inbox)
                await inbox.heard(*events)

    async def _dead(self, bus: Bus, count: int) -> Sequence[DeadLetter]:
        found: Sequence[DeadLetter] = ()

        async def there() -> bool:
            nonlocal found
            found = await self.dead_letters(bus, _PROFILE.queue)
            return len(found) >= count

        await until(there, f"dead letter {count}")
        return found
