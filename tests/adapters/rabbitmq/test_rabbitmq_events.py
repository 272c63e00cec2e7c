"""Events over RabbitMQ: confirms, retry tiers, dead letters, poison, refusals, deploys and shutdown."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from pika import BasicProperties
from rabbit_broker import a_bus, a_channel, address, dead_letters, depth, messages

from orion_core.adapters.rabbitmq import RabbitBus
from orion_core.adapters.rabbitmq.history import History
from orion_core.adapters.rabbitmq.messages import encode
from orion_core.adapters.rabbitmq.topology import Topology
from orion_core.errors import StartRefused
from orion_core.ports.bus import RETRY_DELAYS, Disconnected, Published, Subscription
from orion_core.testing.faults import FaultProxy, through
from orion_core.testing.services import amqp_url
from orion_core.testing.suites.bus_kit import Gate, Inbox, an_event, until

PROFILE = Subscription("users.create_profile", ("user.registered",))


async def has_depth(queue: str, count: int) -> None:
    async def found() -> bool:
        return await depth(queue) == count

    await until(found, f"{count} messages in {queue}")


# Confirms


async def test_a_publish_without_a_confirm_is_unknown() -> None:
    """E3."""
    async with (
        FaultProxy(*address()) as proxy,
        a_bus(through(amqp_url(), proxy), confirm_timeout=0.2) as bus,
    ):
        await bus.declare([PROFILE], ["user"])
        await proxy.stall()
        assert await bus.publish([an_event()]) == [Published.UNKNOWN]
        await proxy.heal()


async def test_a_nack_is_a_refusal_with_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """E3."""
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        full = {"x-max-length": 1, "x-overflow": "reject-publish"}
        async with a_channel() as channel:
            frame = await channel.request(channel.raw.queue_declare, "", exclusive=True, arguments=full)
            exchange = bus._topology.exchange("user")
            await channel.request(channel.raw.queue_bind, frame.method.queue, exchange, routing_key="user.full")
            outcomes = await bus.publish([an_event("user.full") for _ in range(3)])
            assert outcomes == [Published.CONFIRMED, Published.REFUSED, Published.REFUSED]
        assert "refused user.full" in caplog.text


async def test_an_event_that_amqp_cannot_carry_is_refused_and_costs_no_connection() -> None:
    """E3."""
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        before = bus._publishing.connection
        big = an_event(tracestate="x" * 200_000)
        long = an_event("user." + "x" * 300)
        assert await bus.publish([an_event(), big, long, an_event()]) == [
            Published.CONFIRMED,
            Published.REFUSED,
            Published.REFUSED,
            Published.CONFIRMED,
        ]
        assert bus._publishing.connection is before


# Retry tiers


def test_the_tiers_are_quorum_queues_that_lead_straight_back() -> None:
    """E5."""
    queues = Topology("", RETRY_DELAYS, 10).queues(PROFILE)
    assert [name for name in queues if ".retry." in name] == [
        f"users.create_profile.retry.{ms}" for ms in (1000, 5000, 30000, 120000, 600000)
    ]
    for name, arguments in queues.items():
        assert arguments["x-queue-type"] == "quorum"
        if ".retry." in name:
            assert arguments["x-dead-letter-exchange"] == ""
            assert arguments["x-dead-letter-routing-key"] == "users.create_profile"
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
    # Set always: from 4.0 the default would drop what is looked at too often.
    assert queues["users.create_profile"]["x-delivery-limit"] == 10
    assert queues["users.create_profile"]["x-dead-letter-routing-key"] == "users.create_profile.dlq"


def test_a_failure_waits_in_one_tier_after_the_other() -> None:
    """E5."""
    topology = Topology("p", (0.01, 0.05), 10)
    assert [topology.tier(PROFILE, failures) for failures in (1, 2, 3)] == [
        "p.users.create_profile.retry.10",
        "p.users.create_profile.retry.50",
        None,
    ]


async def test_a_failed_event_waits_in_its_tier_with_its_history() -> None:
    """E5 and E5a."""
    inbox = Inbox(lambda _: ValueError("not yet"))
    event = an_event(tracestate="vendor=1", causation_id="cause")
    async with a_bus(retry_delays=(60.0,)) as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        await bus.publish([event])
        tier = bus._topology.name("users.create_profile.retry.60000")
        await has_depth(tier, 1)
        ((properties, body),) = await messages(tier)
        assert await depth(bus._topology.queue(PROFILE)) == 0
    assert (properties.delivery_mode, properties.message_id) == (2, str(event.id))
    assert json.loads(body) == json.loads(event.data)
    history = History.of_dead_letter(properties, 10)
    assert (history.attempts, history.failures, history.error, history.message) == (1, 1, "ValueError", "not yet")
    assert history.exchange == bus._topology.exchange("user")
    assert history.routing_key == "user.registered"
    # The hop is new, the starting trace is not.
    trace = event.started.split("-")[1]
    assert properties.headers["traceparent"].split("-")[1] == trace
    assert properties.headers["traceparent"] not in (event.started, inbox.deliveries[0].traceparent)
    assert properties.headers["cloudEvents_traceparent"] == event.started
    assert properties.headers["tracestate"] == "vendor=1"


async def test_a_tier_that_was_deleted_is_declared_again() -> None:
    """E5."""
    inbox = Inbox(lambda delivery: ValueError("not yet") if delivery.attempt < 3 else None)
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        async with a_channel() as channel:
            for failures in (1, 2):
                await channel.request(channel.raw.queue_delete, bus._topology.tier(PROFILE, failures))
        await bus.publish([an_event()])
        await inbox.has(3)


async def test_a_failure_while_publishing_is_cut_off_is_retried_in_the_end() -> None:
    """E5: without a confirmed copy in the tier the delivery is not acknowledged."""
    async with FaultProxy(*address()) as proxy, a_bus(through(amqp_url(), proxy), confirm_timeout=0.1) as bus:
        event = an_event()
        entered, leave = asyncio.Event(), asyncio.Event()
        attempts: list[int] = []

        async def handler(delivery: Any) -> None:
            attempts.append(delivery.attempt)
            if len(attempts) == 1:
                entered.set()
                await leave.wait()
                raise ValueError("not yet")

        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, handler)
        await bus.publish([event])
        await entered.wait()
        await proxy.refuse()
        leave.set()

        async def away() -> bool:
            try:
                await bus.publish([event])
            except Disconnected:
                return True
            return False

        await until(away, "the loss")
        await proxy.heal()
        await until(lambda: len(attempts) >= 2, "another attempt")
        await has_depth(bus._topology.queue(PROFILE), 0)


# Dead letters


async def test_a_dead_letter_carries_all_its_history() -> None:
    """E5a."""
    inbox = Inbox(lambda delivery: KeyError(f"no {delivery.attempt}"))
    event = an_event()
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        await bus.publish([event])
        dead = bus._topology.dead(PROFILE)
        await has_depth(dead, 1)
        ((properties, _),) = await messages(dead)
        (letter,) = await dead_letters(bus, PROFILE.queue)
    headers = properties.headers
    assert headers["orion-error"] == "KeyError"
    assert headers["orion-message"] == "'no 3'"
    assert headers["orion-attempts"] == 3
    assert datetime.fromisoformat(headers["orion-first-failed"]) == letter.first_failed
    assert datetime.fromisoformat(headers["orion-last-failed"]) == letter.last_failed
    assert headers["orion-exchange"] == bus._topology.exchange("user")
    assert headers["orion-routing-key"] == "user.registered"
    assert headers["cloudEvents_correlationid"] == event.correlation_id == properties.correlation_id
    assert not [name for name in headers if name.startswith("x-death")]


async def test_a_dead_letter_of_a_listener_of_everything_names_its_event() -> None:
    """E5a."""
    everything = Subscription("webhooks.fan_out", ())
    inbox = Inbox(lambda _: ValueError("no"))
    async with a_bus(retry_delays=()) as bus:
        await bus.declare([everything, PROFILE], ["user"])
        await bus.subscribe(everything, inbox)
        await bus.publish([an_event(heard=True), an_event("user.renamed")])
        await has_depth(bus._topology.dead(everything), 2)
        letters = await dead_letters(bus, everything.queue)
    assert {letter.routing_key for letter in letters} == {"user.registered", "user.renamed"}
    assert {letter.exchange for letter in letters} == {"user.events", "orion.events"}


# Poison

_KILLED = """
import asyncio, os, signal, sys
from orion_core.adapters.rabbitmq import RabbitBus
from orion_core.ports.bus import Subscription

async def handler(delivery):
    if delivery.envelope.subject == "poison":
        await asyncio.sleep(0.2)  # others are done meanwhile
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    bus = await RabbitBus.open(sys.argv[1], prefix=sys.argv[2], delivery_limit=2, retry_delays=(0.01, 0.03))
    await bus.subscribe(Subscription("users.create_profile", ("user.registered",)), handler)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process as POSIX does")
async def test_a_listener_that_kills_its_process_ends_as_a_dead_letter() -> None:
    """E6: a delivery limit of 2 means 3 deliveries; what came with it is handled."""
    poison, good = an_event(subject="poison"), [an_event() for _ in range(3)]
    async with a_bus(delivery_limit=2) as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.publish([poison, *good])
        for _ in range(3):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _KILLED, amqp_url(), bus._topology.prefix, env=dict(os.environ)
            )
            async with asyncio.timeout(30):
                assert await process.wait() == -signal.SIGKILL
        await has_depth(bus._topology.dead(PROFILE), 1)
        (letter,) = await dead_letters(bus, PROFILE.queue)
        assert letter.envelope == poison
        assert letter.error == "delivery_limit"
        assert letter.attempts == 3
        assert (letter.exchange, letter.routing_key) == ("user.events", "user.registered")
        inbox = Inbox()
        await bus.subscribe(PROFILE, inbox)
        last = an_event()
        await bus.publish([last])
        await inbox.heard(last)
        assert poison not in inbox.envelopes


async def test_events_that_may_have_killed_their_process_run_one_at_a_time() -> None:
    """E6: a crash counts against all that the process had in hand, so the innocent are kept apart."""
    events = [an_event() for _ in range(5)]
    together, running, most, done = Gate(), 0, 0, 0

    async def handler(_: Any) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        # Long enough for all of them to begin, if they could.
        await asyncio.sleep(0.15)
        running, done = running - 1, done + 1

    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.publish(events)
        for begun in (5, 10):
            consumer = await bus.subscribe(PROFILE, together)
            await together.has_begun(begun)
            await consumer.stop(0)
        assert together.most_at_once == 5
        await bus.subscribe(PROFILE, handler)
        await until(lambda: done == 5, "all events")
        assert most == 1


# Contract violations


def _spoiled(**headers: Any) -> tuple[BasicProperties, bytes]:
    properties, body = encode(an_event())
    for name, text in headers.items():
        properties.headers[f"cloudEvents_{name}"] = text
    return properties, body


MALFORMED = {
    "not JSON": (encode(an_event())[0], b'{"a":'),
    "not UTF-8": (encode(an_event())[0], b"\xff\xfe"),
    "unknown specversion": _spoiled(specversion="2.0"),
    "another type": _spoiled(type="com.example.thing"),
    "an id that is no UUID": _spoiled(id="7"),
    "a sequence that is no number": _spoiled(sequence="first"),
    "a time that is none": _spoiled(time="yesterday"),
    "a time without a zone": _spoiled(time="2024-01-01T00:00:00"),
    "a time that is too large": _spoiled(time=2**60),
    "a subject that is no text": _spoiled(subject=7),
    "no headers": (BasicProperties(message_id="m"), b"{}"),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_no_event_is_dead_on_attempt_1(case: str) -> None:
    """E7."""
    properties, body = MALFORMED[case]
    inbox = Inbox()
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        async with a_channel() as channel:
            await channel.confirm()
            exchange = bus._topology.exchange("user")
            await channel.publish(exchange, "user.registered", body, properties, mandatory=True)
        dead = bus._topology.dead(PROFILE)
        await has_depth(dead, 1)
        ((found, kept),) = await messages(dead)
        good = an_event()
        await bus.publish([good])
        await inbox.heard(good)
    history = History.of_dead_letter(found, 10)
    assert (history.attempts, history.error) == (1, "NotAnEvent")
    assert history.message
    assert kept == body
    assert found.message_id == properties.message_id
    assert inbox.envelopes == [good]


# Unroutable


async def test_an_event_that_reaches_no_queue_raises_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """E8."""
    async with a_bus() as bus:
        await bus.declare([PROFILE, Subscription("webhooks.fan_out", ())], ["user"])
        events = [an_event("user.unheard", heard=True), an_event(heard=True), an_event("user.unheard")]
        assert await bus.publish(events) == [Published.UNROUTABLE, Published.CONFIRMED, Published.CONFIRMED]
        assert "no queue takes user.unheard" in caplog.text


async def test_many_unroutable_among_routed_are_told_apart() -> None:
    """E8: returns carry no tag; they are matched by message id."""
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        names = ["user.registered" if number % 3 else "user.unheard" for number in range(120)]
        outcomes = await bus.publish([an_event(name, heard=True) for name in names])
        expected = [Published.CONFIRMED if name == "user.registered" else Published.UNROUTABLE for name in names]
        assert list(outcomes) == expected
        twice = an_event("user.unheard", heard=True)
        assert await bus.publish([twice, twice]) == [Published.UNROUTABLE] * 2


async def test_a_family_nobody_declared_is_declared_by_the_first_publish() -> None:
    """E8."""
    async with a_bus() as bus:
        assert await bus.publish([an_event("order.paid"), an_event("cart.left", heard=True)]) == [
            Published.CONFIRMED,
            Published.UNROUTABLE,
        ]


# Deploys


async def test_a_queue_with_other_arguments_is_refused_and_left_as_it_is() -> None:
    """E12: and EP4, at once and with the reason."""
    inbox = Inbox()
    async with a_bus() as old:
        await old.declare([PROFILE], ["user"])
        await old.subscribe(PROFILE, inbox)
        async with a_bus(prefix=old._topology.prefix, delivery_limit=99) as new:
            with pytest.raises(StartRefused, match=r"users\.create_profile exists with other arguments"):
                await new.declare([PROFILE], ["user"])
            with pytest.raises(StartRefused, match="new name"):
                await new.subscribe(PROFILE, Inbox())
            other = attrs.evolve(PROFILE, queue="users.create_profile_v2")
            await new.declare([other], ["user"])
            event = an_event()
            assert await new.publish([event]) == [Published.CONFIRMED]
            await inbox.heard(event)
            assert await depth(new._topology.queue(other)) == 1
            assert (await old.check()).status == "pass"
            new._declared.pop(PROFILE.queue, None)


async def test_releases_with_other_delays_run_side_by_side() -> None:
    """E12: delays are in the names of the tiers, so they may change."""
    async with a_bus(retry_delays=(0.01,)) as old:
        await old.declare([PROFILE], ["user"])
        async with a_bus(prefix=old._topology.prefix, retry_delays=(0.02, 0.03)) as new:
            await new.declare([PROFILE], ["user"])
            inbox = Inbox(lambda delivery: ValueError("no") if delivery.attempt < 3 else None)
            await new.subscribe(PROFILE, inbox)
            await old.publish([an_event()])
            await inbox.has(3)


# Shutdown


async def test_closing_finishes_and_acknowledges_what_runs_and_leaves_the_rest() -> None:
    """E14."""
    gate = Gate()
    subscription = attrs.evolve(PROFILE, concurrency=2)
    events = [an_event() for _ in range(5)]
    async with a_bus() as bus:
        await bus.declare([subscription], ["user"])
        consumer = await bus.subscribe(subscription, gate)
        await bus.publish(events)
        await gate.has_begun(2)
        stopping = asyncio.ensure_future(consumer.stop(20))
        queue = bus._topology.queue(subscription)
        await has_depth(queue, 3)
        gate.open.set()
        await stopping
        assert len(gate.done) == 2
        await has_depth(queue, 3)
        inbox = Inbox()
        await bus.subscribe(subscription, inbox)
        await inbox.has(3)
        assert {event.id for event in inbox.envelopes} == {event.id for event in events} - {
            event.id for event in gate.done
        }
        # Delivered for the first time: they were never begun.
        assert {delivery.attempt for delivery in inbox.deliveries} <= {1, 2}


async def test_what_outlasts_the_grace_is_cancelled_and_given_out_once_more() -> None:
    """E14."""
    gate = Gate()
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        consumer = await bus.subscribe(PROFILE, gate)
        await bus.publish([an_event()])
        await gate.has_begun(1)
        await consumer.stop(0.05)
        assert gate.done == []
        await has_depth(bus._topology.queue(PROFILE), 1)
        inbox = Inbox()
        await bus.subscribe(PROFILE, inbox)
        await inbox.has(1)
        assert inbox.deliveries[0].attempt == 2
        await has_depth(bus._topology.queue(PROFILE), 0)


async def test_an_event_too_late_for_its_consumer_is_not_lost() -> None:
    """E14: stopped while deliveries are on their way."""
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        events = [an_event() for _ in range(30)]
        got = Inbox()
        publishing = asyncio.ensure_future(bus.publish(events))
        for _ in range(10):
            consumer = await bus.subscribe(PROFILE, got)
            await consumer.stop(0)
        await publishing
        await bus.subscribe(PROFILE, got)
        await got.heard(*events)


async def test_the_time_of_a_first_failure_survives_every_retry() -> None:
    """E5a."""
    before = datetime.now(UTC)
    inbox = Inbox(lambda delivery: ValueError(str(delivery.attempt)))
    async with a_bus(retry_delays=(0.01, 0.02, 0.03)) as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        await bus.publish([an_event()])
        await has_depth(bus._topology.dead(PROFILE), 1)
        (letter,) = await dead_letters(bus, PROFILE.queue)
    assert before <= letter.first_failed < letter.last_failed
    assert letter.attempts == 4


async def test_a_bus_is_used_by_its_interface_alone() -> None:
    """E8: declaring and publishing concurrently from several tasks."""
    async with a_bus() as bus:
        assert isinstance(bus, RabbitBus)
        names = [f"family{number}.happened" for number in range(5)]
        outcomes = await asyncio.gather(*(bus.publish([an_event(name)]) for name in names for _ in range(4)))
        assert {outcome for (outcome,) in outcomes} == {Published.CONFIRMED}
