"""Removing from a broker what a test's deployment declared there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pika import URLParameters

from orion_core.adapters.rabbitmq.connection import Connection
from orion_core.adapters.rabbitmq.topology import Topology
from orion_core.ports.bus import Subscription


async def sweep(
    url: str, prefix: str, subscriptions: Iterable[Subscription], families: Iterable[str], retry_delays: Sequence[float]
) -> None:
    """Delete the queues and exchanges of the deployment `prefix` on the broker at `url`."""
    topology = Topology(prefix=prefix, retry_delays=tuple(retry_delays), delivery_limit=10)
    connection = await Connection.open(URLParameters(url))
    try:
        channel = await connection.channel()
        for subscription in subscriptions:
            if not subscription.broadcast:
                for queue in topology.queues(subscription):
                    await channel.request(channel.raw.queue_delete, queue)
        for exchange in [*map(topology.exchange, families), topology.everything]:
            await channel.request(channel.raw.exchange_delete, exchange)
    finally:
        await connection.close(5.0)
