"""The AMQP client around pika: each rule of its requirements, EP1 to EP12, is a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pika import BasicProperties, frame, spec
from pika.compat import long
from rabbit_broker import a_bus, a_channel, address, depth

from orion_core.adapters.rabbitmq import RabbitBus
from orion_core.adapters.rabbitmq.bus import refuse_proactor
from orion_core.adapters.rabbitmq.channel import Buffer, Channel, ChannelClosed, Incoming
from orion_core.adapters.rabbitmq.connection import Connection
from orion_core.adapters.rabbitmq.messages import normalised
from orion_core.adapters.rabbitmq.supervisor import Backoff
from orion_core.adapters.rabbitmq.url import parse
from orion_core.errors import StartRefused
from orion_core.ports.bus import BusClosed, Delivery, Disconnected, Published, Subscription
from orion_core.testing.faults import FaultProxy, through
from orion_core.testing.services import amqp_url
from orion_core.testing.suites.bus_kit import BOUND, Gate, Inbox, an_event, until

PROFILE = Subscription("users.create_profile", ("user.registered",))
WELCOME = Subscription("notifications.welcome", ("user.registered",))


@contextlib.asynccontextmanager
async def a_proxied_bus(**settings: Any) -> AsyncIterator[tuple[RabbitBus, FaultProxy]]:
    """A bus that reaches its broker through a proxy."""
    async with FaultProxy(*address()) as proxy, a_bus(through(amqp_url(), proxy), **settings) as bus:
        yield bus, proxy


async def has_status(bus: RabbitBus, status: str) -> None:
    async def found() -> bool:
        return (await bus.check()).status == status

    await until(found, f"the check to say {status}")


def receive(connection: Connection, method: Any) -> None:
    """Let pika's parser have `method` as if the broker had sent it on channel 0."""
    connection._raw._process_frame(frame.Method(0, method))


def connection_of(bus: RabbitBus) -> Connection:
    connection = bus._publishing.up
    assert connection is not None
    return connection


async def test_no_content_of_a_message_disturbs_the_connection() -> None:
    """EP1."""
    inbox = Inbox(lambda delivery: ValueError("no") if delivery.attempt == 1 else None)
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        assert bus._consuming is not None
        before = bus._publishing.connection, bus._consuming.connection
        odd = [
            (BasicProperties(headers={"cloudEvents_specversion": 7}), b"\xff"),
            (BasicProperties(headers=None), b""),
            (BasicProperties(headers={"x": [None, {"y": 2**60}], "CC": ["nowhere"]}, expiration="60000"), b"{"),
        ]
        async with a_channel() as channel:
            await channel.confirm()
            for properties, body in odd:
                key = bus._topology.name("user.events")
                await channel.publish(key, "user.registered", body, properties, mandatory=True)
        event = an_event()
        await bus.publish([an_event("user.unheard", heard=True), event])
        await inbox.heard(event)
        assert (bus._publishing.connection, bus._consuming.connection) == before

        async def all_dead() -> bool:
            return await depth(bus._topology.dead(PROFILE)) == len(odd)

        await until(all_dead, "dead letters")


async def test_deliveries_wait_in_a_bounded_buffer() -> None:
    """EP1."""
    async with a_channel() as channel:
        buffer = Buffer(2)
        items = [Incoming(channel, tag, "", "", BasicProperties(), b"") for tag in range(3)]
        assert [buffer.put(item) for item in items] == [True, True, False]
        buffer.end(Disconnected("gone"))
        assert [await buffer.get(), await buffer.get()] == items[:2]
        with pytest.raises(Disconnected, match="gone"):
            await buffer.get()


async def test_a_bounded_number_of_publishes_is_in_flight() -> None:
    """EP2."""
    async with a_proxied_bus(max_in_flight=10, confirm_timeout=0.3) as (bus, proxy):
        await bus.declare([PROFILE], ["user"])
        await proxy.stall()
        outcomes = await bus.publish([an_event() for _ in range(30)])
        assert set(outcomes) == {Published.UNKNOWN}
        channel = bus._publisher._channel
        assert channel is not None
        assert channel.in_flight == 10
        assert await bus.publish([an_event()]) == [Published.UNKNOWN]
        assert channel.in_flight == 10
        await proxy.heal()
        await until(lambda: channel.in_flight == 0, "the answers")
        assert await bus.publish([an_event() for _ in range(30)]) == [Published.CONFIRMED] * 30


async def test_publishing_waits_while_the_broker_blocks() -> None:
    """EP2."""
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        connection = connection_of(bus)
        receive(connection, spec.Connection.Blocked("low on memory"))
        assert "low on memory" in (await bus.check()).detail
        publishing = asyncio.ensure_future(bus.publish([an_event()]))
        async with a_channel():
            assert not publishing.done()
        channel = bus._publisher._channel
        assert channel is not None
        assert channel.in_flight == 0
        receive(connection, spec.Connection.Unblocked())
        assert await publishing == [Published.CONFIRMED]
        assert (await bus.check()).status == "pass"


async def test_a_connection_blocked_too_long_is_given_up() -> None:
    """EP2."""
    async with a_bus(blocked_timeout=0.05) as bus:
        await bus.declare([PROFILE], ["user"])
        connection = connection_of(bus)
        receive(connection, spec.Connection.Blocked("low on disk"))
        outcome = await bus.publish([an_event()])
        assert outcome == [Published.UNKNOWN]
        await until(lambda: bus._publishing.up not in (None, connection), "another connection")
        assert await bus.publish([an_event()]) == [Published.CONFIRMED]


def test_the_time_a_connection_may_stay_blocked_has_a_limit() -> None:
    """EP2."""
    for url in ("amqp://x/", "amqp://x/?blocked_connection_timeout=600"):
        (host,) = parse(url, name="x", heartbeat=30, blocked_timeout=60.0).hosts
        assert host.blocked_connection_timeout == 60


async def test_what_is_pending_fails_when_the_connection_is_lost() -> None:
    """EP3."""
    async with a_proxied_bus() as (bus, proxy):
        connection = connection_of(bus)
        channel = await connection.channel()
        await channel.confirm()
        await proxy.stall()
        confirm = channel.publish("", "nowhere", b"{}", BasicProperties(), mandatory=False)
        request = asyncio.ensure_future(channel.request(channel.raw.queue_declare, "", exclusive=True))
        await asyncio.sleep(0)
        await proxy.cut()
        for pending in (confirm, request):
            with pytest.raises(Disconnected):
                await asyncio.wait_for(pending, BOUND)


async def test_a_publish_cut_off_is_unknown_and_succeeds_when_repeated() -> None:
    """EP3."""
    event, inbox = an_event(), Inbox()
    async with a_proxied_bus() as (bus, proxy):
        await bus.declare([PROFILE], ["user"])
        await proxy.stall()
        publishing = asyncio.ensure_future(bus.publish([event]))
        channel = bus._publisher._channel
        assert channel is not None
        await until(lambda: channel.in_flight == 1, "the publish")
        await proxy.cut()
        assert await publishing == [Published.UNKNOWN]
        await proxy.heal()
        await has_status(bus, "pass")
        assert await bus.publish([event]) == [Published.CONFIRMED]
        await bus.subscribe(PROFILE, inbox)
        await inbox.heard(event)


async def test_a_request_fails_at_once_when_its_channel_is_closed() -> None:
    """EP4."""
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        async with a_channel() as channel:
            name = bus._topology.queue(PROFILE)
            pending = [
                asyncio.ensure_future(channel.request(channel.raw.queue_declare, name, durable=True)),
                asyncio.ensure_future(channel.request(channel.raw.basic_qos, prefetch_count=1)),
            ]
            for request in pending:
                with pytest.raises(ChannelClosed, match="PRECONDITION_FAILED") as caught:
                    await asyncio.wait_for(request, BOUND)
                assert caught.value.code == 406
            with pytest.raises(ChannelClosed):
                await channel.request(channel.raw.basic_qos, prefetch_count=1)


async def test_an_ack_of_an_older_generation_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """EP5."""
    event, gate, seen = an_event(), Gate(), list[Delivery]()

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery)
        if len(seen) == 1:
            await gate(delivery)

    async with a_proxied_bus() as (bus, proxy):
        await bus.declare([PROFILE], ["user"])
        consumer = await bus.subscribe(PROFILE, handler)
        await bus.publish([event])
        await gate.has_begun(1)
        await proxy.cut()
        await until(lambda: len(seen) == 2, "the second delivery")
        assert [delivery.attempt for delivery in seen] == [1, 2]
        channel: Channel = consumer._channel  # type: ignore[attr-defined]  # of the adapter, not of the port
        gate.open.set()
        await until(lambda: gate.done == [event], "the first handler's end")
        await has_status(bus, "pass")
        later = an_event()
        await bus.publish([later])
        await until(lambda: len(seen) == 3, "a later event")
        assert channel.is_open
        assert seen[2].envelope == later
        assert "could not be settled" not in caplog.text
        assert (await bus.check()).status == "pass"


async def test_a_consumer_cancelled_by_the_broker_comes_back() -> None:
    """EP6."""
    inbox = Inbox()
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        assert bus._consuming is not None
        before = bus._consuming.connection
        for _ in range(3):
            async with a_channel() as channel:
                await channel.request(channel.raw.queue_delete, bus._topology.queue(PROFILE))
            event = an_event(heard=True)

            async def routed(event: Any = event) -> bool:
                return list(await bus.publish([event])) == [Published.CONFIRMED]

            await until(routed, "the queue")
            await inbox.heard(event)
        assert bus._consuming.connection is before


async def test_a_lost_connection_comes_back_with_topology_and_consumers() -> None:
    """EP7."""
    profile, forget = Inbox(), Inbox()
    broadcast = Subscription("auth.forget", ("auth.session_revoked",), broadcast=True)
    async with a_proxied_bus() as (bus, proxy):
        await bus.declare([PROFILE], ["user", "auth"])
        await bus.subscribe(PROFILE, profile)
        await bus.subscribe(broadcast, forget)
        for _ in range(3):
            await proxy.refuse()
            await has_status(bus, "warn")
            with pytest.raises(Disconnected):
                await bus.publish([an_event()])
            async with a_channel() as channel:
                await channel.request(channel.raw.exchange_delete, bus._topology.exchange("user"))
            await proxy.heal()
            await has_status(bus, "pass")
            event = an_event(heard=True)
            assert await bus.publish([event]) == [Published.CONFIRMED]
            await profile.heard(event)

            # A broadcast keeps nothing for a process that is away, so ask until its new queue stands.
            before = len(forget.deliveries)

            async def told(before: int = before) -> bool:
                await bus.publish([an_event("auth.session_revoked")])
                return len(forget.deliveries) > before

            await until(told, "the broadcast")


async def test_a_bus_opens_while_the_broker_is_away() -> None:
    """EP7."""
    event, inbox = an_event(heard=True), Inbox()
    async with FaultProxy(*address()) as proxy:
        await proxy.refuse()
        async with a_bus(through(amqp_url(), proxy)) as bus:
            assert (await bus.check()).status == "warn"
            await bus.declare([PROFILE], ["user"])
            await bus.subscribe(PROFILE, inbox)
            with pytest.raises(Disconnected):
                await bus.publish([event])
            await proxy.heal()
            await has_status(bus, "pass")
            assert await bus.publish([event]) == [Published.CONFIRMED]
            await inbox.heard(event)


async def test_a_deleted_exchange_costs_one_reconnect_and_no_event() -> None:
    """EP7."""
    inbox = Inbox()
    async with a_bus() as bus:
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, inbox)
        async with a_channel() as channel:
            await channel.request(channel.raw.exchange_delete, bus._topology.exchange("user"))
        event = an_event(heard=True)

        async def published() -> bool:
            with contextlib.suppress(Disconnected):
                return list(await bus.publish([event])) == [Published.CONFIRMED]
            return False

        await until(published, "the exchange")
        await inbox.heard(event)


def test_the_waits_between_attempts_are_random_and_bounded() -> None:
    """EP7."""
    backoff = Backoff()
    waits = [[backoff.delay(attempt) for _ in range(200)] for attempt in range(40)]
    assert all(0 <= wait <= min(30, 0.5 * 2**attempt) for attempt, found in enumerate(waits) for wait in found)
    assert max(waits[39]) > 15
    assert len(set(waits[5])) > 100
    # A closed port is asked more often: the backlog must leave soon after the broker is back.
    assert max(backoff.delay(39, unreachable=True) for _ in range(200)) <= 3


async def test_a_password_that_is_refused_is_reported_without_it() -> None:
    """EP7."""
    host, port = address()
    bus = await RabbitBus.open(f"amqp://guest:sesame@{host}:{port}/%2F", reconnect=(0.01, 0.1))
    try:
        check = await bus.check()
        assert check.status == "warn"
        assert "sesame" not in check.detail
    finally:
        await bus.aclose()


async def test_publishing_and_consuming_have_a_connection_each() -> None:
    """EP9."""
    async with a_proxied_bus() as (bus, proxy):
        await bus.declare([PROFILE, WELCOME], ["user"])
        assert proxy.connections == 1
        await bus.subscribe(PROFILE, Inbox())
        await bus.subscribe(WELCOME, Inbox())
        assert proxy.connections == 2


def test_integers_in_headers_become_plain_integers() -> None:
    """EP10."""
    found = normalised({"a": long(3), "b": [long(4), {"c": long(5)}], "d": True, b"e": "text", "f": None})
    assert found == {"a": 3, "b": [4, {"c": 5}], "d": True, "e": "text", "f": None}
    assert (type(found["a"]), type(found["b"][0]), type(found["b"][1]["c"])) == (int, int, int)
    assert normalised(None) == {}


async def test_a_delivery_without_a_tag_is_left_alone() -> None:
    """EP10."""
    async with a_channel() as channel:
        buffer = Buffer(1)
        channel._on_message(buffer, spec.Basic.Deliver(), BasicProperties(), b"")
        assert list(buffer.drain()) == []
        channel._on_message(buffer, spec.Basic.Deliver(delivery_tag=long(1)), BasicProperties(), b"")
        (incoming,) = buffer.drain()
        assert (incoming.tag, incoming.exchange, incoming.routing_key) == (1, "", "")


def test_an_event_loop_that_cannot_watch_sockets_is_refused() -> None:
    """EP11."""

    class ProactorLoop(asyncio.BaseEventLoop):
        """What Windows gives by default: no `add_reader`."""

    loop = ProactorLoop()
    try:
        with pytest.raises(StartRefused, match="SelectorEventLoop"):
            refuse_proactor(loop)
    finally:
        loop.close()
    selector = asyncio.SelectorEventLoop()
    refuse_proactor(selector)
    selector.close()


@pytest.mark.parametrize("fault", ["none", "refuse", "stall", "cut"])
async def test_closing_ends_in_time_and_leaves_no_task(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """EP12."""
    before = asyncio.all_tasks()
    async with FaultProxy(*address()) as proxy, a_bus(through(amqp_url(), proxy), close_grace=0.2) as bus:
        proxies = asyncio.all_tasks()
        await bus.declare([PROFILE, WELCOME], ["user"])
        for subscription in (PROFILE, WELCOME):
            await bus.subscribe(subscription, Inbox())
        if fault != "none":
            await getattr(proxy, fault)()
        async with asyncio.timeout(10):
            await bus.aclose()
        left = {task for task in asyncio.all_tasks() - before - proxies if not task.done()}
        assert not [task for task in left if "rabbitmq" in task.get_name()]
        assert "Exception in callback" not in caplog.text


async def test_a_start_that_is_cancelled_leaves_no_task(caplog: pytest.LogCaptureFixture) -> None:
    """EP12."""
    async with FaultProxy(*address()) as proxy:
        await proxy.stall()
        before = asyncio.all_tasks()
        opening = asyncio.ensure_future(RabbitBus.open(through(amqp_url(), proxy)))
        await until(lambda: proxy.connections == 1, "the attempt")
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert not [task for task in asyncio.all_tasks() - before if "rabbitmq" in task.get_name()]
    assert "Exception in callback" not in caplog.text


async def test_closing_while_declaring_ends_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """EP12."""
    async with a_proxied_bus(close_grace=0.2) as (bus, proxy):
        await proxy.stall()
        declaring = asyncio.ensure_future(bus.declare([PROFILE], ["user"]))
        subscribing = asyncio.ensure_future(bus.subscribe(WELCOME, Inbox()))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await bus.aclose()
            await declaring
            with pytest.raises(BusClosed):
                await subscribing
        await proxy.heal()
    assert "Exception in callback" not in caplog.text


async def test_closing_during_a_reconnect_ends_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """EP12."""
    async with a_proxied_bus() as (bus, proxy):
        await bus.declare([PROFILE], ["user"])
        await bus.subscribe(PROFILE, Inbox())
        await proxy.stall()
        await proxy.cut()
        await has_status(bus, "warn")
        async with asyncio.timeout(10):
            await bus.aclose()
    assert "Exception in callback" not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://x/", "amqp://x:port/", "amqp://guest:sesame@x:99999/%2F", "amqp://x/?heartbeat=often"]
)
async def test_a_url_that_cannot_work_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StartRefused, match="bus URL") as caught:
        await RabbitBus.open(url)
    assert "sesame" not in str(caught.value)


def test_a_url_may_name_several_hosts_and_a_prefix() -> None:
    found = parse("amqp://a:b@one:1,two:2/v?prefix=x", name="n", heartbeat=30, blocked_timeout=60.0)
    assert [(host.host, host.port, host.virtual_host, host.heartbeat) for host in found.hosts] == [
        ("one", 1, "v", 30),
        ("two", 2, "v", 30),
    ]
    assert found.prefix == "x"
