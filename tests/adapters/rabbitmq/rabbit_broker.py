"""What the tests of the RabbitMQ adapter need of a broker: buses with names of their own, and a look behind them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from pika import BasicProperties, URLParameters, spec

from orion_core.adapters.rabbitmq import RabbitBus
from orion_core.adapters.rabbitmq.channel import Channel, ChannelClosed
from orion_core.adapters.rabbitmq.connection import Connection
from orion_core.adapters.rabbitmq.history import History
from orion_core.adapters.rabbitmq.messages import decode
from orion_core.testing.services import amqp_url
from orion_core.testing.suites.bus import RETRY_DELAYS, DeadLetter

QUICK: dict[str, Any] = {"retry_delays": RETRY_DELAYS, "reconnect": (0.01, 0.1), "close_grace": 2.0}
"""Waits fit for tests."""


@contextlib.asynccontextmanager
async def a_bus(url: str = "", **settings: Any) -> AsyncIterator[RabbitBus]:
    """A bus with a prefix of its own unless one is given; what it declared is removed at the end."""
    broker = amqp_url()
    prefix = settings.pop("prefix", f"test-{uuid4().hex[:12]}")
    bus = await RabbitBus.open(url or broker, prefix=prefix, **{**QUICK, **settings})
    try:
        yield bus
    finally:
        await bus.aclose()
        async with a_channel() as channel:
            await sweep(bus, channel)


async def sweep(bus: RabbitBus, channel: Channel) -> None:
    """Remove all that `bus` ever declared."""
    for subscription in bus._declared.values():
        for queue in bus._topology.queues(subscription):
            await channel.request(channel.raw.queue_delete, queue)
    for exchange in [*map(bus._topology.exchange, bus._families), bus._topology.everything]:
        await channel.request(channel.raw.exchange_delete, exchange)


@contextlib.asynccontextmanager
async def a_channel() -> AsyncIterator[Channel]:
    """A channel of a connection of its own, past the bus."""
    connection = await Connection.open(URLParameters(amqp_url()))
    try:
        yield await connection.channel()
    finally:
        await connection.close(5.0)


async def get(channel: Channel, queue: str) -> tuple[spec.Basic.GetOk, BasicProperties, bytes] | None:
    """The next message of `queue`, unsettled until the channel closes; None when it is empty."""
    found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(result: Any) -> None:
        # The callback for an empty queue stays registered when there was a message.
        if not found.done():
            found.set_result(result)

    channel.raw.add_callback(lambda _: settle(None), [spec.Basic.GetEmpty])
    channel.raw.basic_get(queue, lambda _, *message: settle(message))
    await asyncio.wait({found, channel.closed}, return_when=asyncio.FIRST_COMPLETED)
    if channel.closed.done():
        raise channel.closed.result()
    return found.result()


async def messages(queue: str) -> list[tuple[BasicProperties, bytes]]:
    """All that waits in `queue`, which keeps it; nothing for a queue that does not exist."""
    found = []
    async with a_channel() as channel:
        try:
            while message := await get(channel, queue):
                found.append(message[1:])
        except ChannelClosed:
            return []
    return found


async def depth(queue: str) -> int:
    """How many messages are ready in `queue`."""
    async with a_channel() as channel:
        frame = await channel.request(channel.raw.queue_declare, queue, passive=True)
        return int(frame.method.message_count)


async def dead_letters(bus: RabbitBus, queue: str) -> Sequence[DeadLetter]:
    """The dead letters of a listener, as the suite wants them."""
    letters = []
    for properties, body in await messages(bus._topology.name(f"{queue}.dlq")):
        history = History.of_dead_letter(properties, bus._topology.delivery_limit)
        assert history.first_failed
        assert history.last_failed
        letters.append(
            DeadLetter(
                envelope=decode(properties, body),
                attempts=history.attempts,
                error=history.error,
                message=history.message,
                first_failed=history.first_failed,
                last_failed=history.last_failed,
                exchange=bus._topology.plain(history.exchange),
                routing_key=history.routing_key,
            )
        )
    return letters


def address() -> tuple[str, int]:
    """Host and port of the broker, to put a proxy in front of."""
    parts = urlsplit(amqp_url())
    return parts.hostname or "127.0.0.1", parts.port or 5672
