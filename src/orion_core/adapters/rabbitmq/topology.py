"""Exchanges and queues: their names, their arguments, and how they come to be.

::

    user.events ──user.registered──▶ users.create_profile            a listener's queue
         │                              │ fails                ▲
         │                              ▼                      │ after <ms>, straight back to the queue
         │                           users.create_profile.retry.<ms>
         │                              │ fails for the last time, is rejected, or kills its process
         │                              ▼
         │                           users.create_profile.dlq
         └──$all.#──▶ orion.events ──#──▶ webhooks.fan_out           the queue of a listener of everything

**Who counts as routed.** `mandatory` counts every queue a message reaches, also through a second exchange, so a
listener of everything would hide that nobody else listens. Its queue is therefore reached by a routing key of its
own, ``$all.<name>``: an event that nobody need hear carries it beside its name (in the header ``BCC``, which the broker
removes) and is published once; an event that must be heard is published with `mandatory` under its name alone, and a
second time to ``orion.events``, without `mandatory`. No queue sees both copies.

**Arguments never change.** A queue that exists with other arguments is refused by the broker (406). Names of tiers
contain their delay, so delays may change; anything else needs a new name or a broker policy.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import attrs

from orion_core.adapters.rabbitmq.channel import Channel
from orion_core.ports.bus import Subscription

EVERYTHING = "$all"
"""The first word of the routing key that reaches the listeners of everything; no event's family begins with ``$``."""

_KEPT_SAFE = {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
# Dead letters may be looked at any number of times: from 4.0 the default limit of 20 would drop them.
_UNLIMITED = 1_000_000


@attrs.frozen
class Topology:
    """What one deployment's exchanges and queues look like; `prefix` keeps deployments on one broker apart."""

    prefix: str
    retry_delays: tuple[float, ...]
    delivery_limit: int

    def name(self, plain: str) -> str:
        """`plain` as it is called on the broker."""
        return f"{self.prefix}.{plain}" if self.prefix else plain

    def plain(self, name: str) -> str:
        """The opposite of `name`."""
        return name.removeprefix(f"{self.prefix}.") if self.prefix else name

    def exchange(self, family: str) -> str:
        """The topic exchange of an event family."""
        return self.name(f"{family}.events")

    @property
    def everything(self) -> str:
        """The topic exchange of those who hear everything."""
        return self.name("orion.events")

    def queue(self, subscription: Subscription) -> str:
        """The queue of a listener."""
        return self.name(subscription.queue)

    def tier(self, subscription: Subscription, failures: int) -> str | None:
        """The queue in which an event waits after failing for the `failures`-th time; None after the last."""
        if failures > len(self.retry_delays):
            return None
        return f"{self.queue(subscription)}.retry.{_milliseconds(self.retry_delays[failures - 1])}"

    def dead(self, subscription: Subscription) -> str:
        """The queue of a listener's dead letters."""
        return f"{self.queue(subscription)}.dlq"

    def queues(self, subscription: Subscription) -> dict[str, dict[str, Any]]:
        """All queues of a listener with their arguments, in the order in which they are declared."""
        queue, dead = self.queue(subscription), self.dead(subscription)
        found: dict[str, dict[str, Any]] = {dead: {"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED}}
        for delay in self.retry_delays:
            milliseconds = _milliseconds(delay)
            found[f"{queue}.retry.{milliseconds}"] = {
                "x-queue-type": "quorum",
                "x-message-ttl": milliseconds,
                "x-dead-letter-routing-key": queue,
                **_KEPT_SAFE,
            }
        # Only a listener that ends its process gets here: all other failures are moved by the client.
        found[queue] = {
            "x-queue-type": "quorum",
            "x-delivery-limit": self.delivery_limit,
            "x-dead-letter-routing-key": dead,
            **_KEPT_SAFE,
        }
        return found

    async def declare_family(self, channel: Channel, family: str) -> None:
        """Make the family's exchange exist, and its way to those who hear everything."""
        for exchange in (self.exchange(family), self.everything):
            await channel.request(channel.raw.exchange_declare, exchange, exchange_type="topic", durable=True)
        await channel.request(
            channel.raw.exchange_bind, self.everything, self.exchange(family), routing_key=f"{EVERYTHING}.#"
        )

    async def declare(self, channel: Channel, subscription: Subscription) -> str:
        """Make a listener's queues and bindings exist and return the queue to consume from.

        A broadcast listener gets a queue of its own that lives as long as the connection.
        """
        if subscription.broadcast:
            # A new name every time: the old one stays locked until the broker notices that its connection is gone.
            queue = f"{self.queue(subscription)}.{secrets.token_hex(8)}"
            await channel.request(channel.raw.queue_declare, queue, exclusive=True, auto_delete=True)
        else:
            queue = self.queue(subscription)
            for name, arguments in self.queues(subscription).items():
                await channel.request(channel.raw.queue_declare, name, durable=True, arguments=arguments)
        await self._bind(channel, queue, subscription.events)
        return queue

    async def _bind(self, channel: Channel, queue: str, events: Sequence[str]) -> None:
        if not events:
            await channel.request(channel.raw.exchange_declare, self.everything, exchange_type="topic", durable=True)
            await channel.request(channel.raw.queue_bind, queue, self.everything, routing_key="#")
        for family in dict.fromkeys(event.partition(".")[0] for event in events):
            await self.declare_family(channel, family)
        for event in events:
            exchange = self.exchange(event.partition(".")[0])
            await channel.request(channel.raw.queue_bind, queue, exchange, routing_key=event)


def _milliseconds(delay: float) -> int:
    return max(1, round(delay * 1000))
