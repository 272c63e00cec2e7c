"""The bus on RabbitMQ."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from orion_core.adapters.rabbitmq.channel import Channel, ChannelClosed
from orion_core.adapters.rabbitmq.connection import Connection
from orion_core.adapters.rabbitmq.consumer import RabbitConsumer, problem
from orion_core.adapters.rabbitmq.messages import encode
from orion_core.adapters.rabbitmq.publisher import Outgoing, Publisher
from orion_core.adapters.rabbitmq.supervisor import Backoff, Supervisor
from orion_core.adapters.rabbitmq.topology import EVERYTHING, Topology
from orion_core.adapters.rabbitmq.url import Address, parse
from orion_core.errors import StartRefused
from orion_core.events import Envelope
from orion_core.ports.bus import RETRY_DELAYS, Bus, BusClosed, Consumer, Disconnected, Handler, Published, Subscription
from orion_core.ports.check import Check

_log = logging.getLogger("orion.bus")


class RabbitBus(Bus):
    """Events over RabbitMQ 3.10 and later: topic exchanges, a quorum queue per listener, confirmed publishes.

    Publishing and consuming have a connection each, since a broker that blocks publishers stops reading their socket,
    acknowledgements included. Both come back by themselves; exchanges, queues and consumers with them.
    """

    def __init__(
        self,
        address: Address,
        consuming: Address,
        *,
        topology: Topology,
        confirm_timeout: float,
        backoff: Backoff,
        close_grace: float,
        window: int,
    ) -> None:
        self._topology = topology
        self._consuming_address = consuming
        self._backoff = backoff
        self._grace = close_grace
        self._families: set[str] = set()
        self._standing: set[str] = set()
        self._declared: dict[str, Subscription] = {}
        self._problems: list[str] = []
        self._consumers: list[RabbitConsumer] = []
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._publishing = Supervisor("publishing", address.hosts, backoff, self._prepare)
        self._consuming: Supervisor | None = None
        self._publisher = Publisher(self._publishing, confirm_timeout, window)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        prefix: str = "",
        retry_delays: Sequence[float] = RETRY_DELAYS,
        confirm_timeout: float = 10.0,
        delivery_limit: int = 10,
        heartbeat: int = 30,
        blocked_timeout: float = 60.0,
        reconnect: tuple[float, float] = (0.5, 30.0),
        open_timeout: float = 5.0,
        close_grace: float = 5.0,
        max_in_flight: int = 500,
    ) -> RabbitBus:
        """Start connecting, and wait up to `open_timeout` seconds for the first attempt to end, well or not.

        `prefix`, or ``?prefix=`` in the URL, sets the names of this deployment apart. `delivery_limit` is how often a
        listener may take its process down with one event. `reconnect` are the shortest and longest limits of the
        random wait between attempts. Raises `StartRefused` for a URL or an event loop that cannot work; a broker that
        is away is no error.
        """
        refuse_proactor(asyncio.get_running_loop())
        publishing = parse(url, name="orion publishing", heartbeat=heartbeat, blocked_timeout=blocked_timeout)
        consuming = parse(url, name="orion consuming", heartbeat=heartbeat, blocked_timeout=blocked_timeout)
        bus = cls(
            publishing,
            consuming,
            topology=Topology(prefix or publishing.prefix, tuple(retry_delays), delivery_limit),
            confirm_timeout=confirm_timeout,
            backoff=Backoff(*reconnect),
            close_grace=close_grace,
            window=max_in_flight,
        )
        try:
            async with asyncio.timeout(open_timeout):
                await bus._publishing.wait_tried()
        except TimeoutError:
            _log.warning("the broker did not answer within %s s; trying on", open_timeout)
        except BaseException:
            await bus.aclose()
            raise
        return bus

    async def declare(self, subscriptions: Sequence[Subscription], families: Sequence[str]) -> None:
        """Make every queue and every family's exchange exist, now and after every reconnect.

        Returns at once when the broker is away: it is done before the first publish then. Raises `StartRefused` for a
        queue that exists with other arguments, and `BusClosed` after `aclose`.
        """
        self._ensure_open()
        pools = [each for each in subscriptions if not each.broadcast]
        wanted = {*families, *(event.partition(".")[0] for each in pools for event in each.events)}
        self._families |= wanted
        self._declared |= {each.queue: each for each in pools}
        connection = self._publishing.connection
        if connection is None:
            return
        try:
            problems = await self._apply(connection, pools, sorted(wanted))
        except Disconnected:
            return
        if problems:
            raise StartRefused(problems)

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Published]:
        """Hand over `envelopes`, in this order, and return what became of each.

        Raises `Disconnected` when the broker is away and `BusClosed` after `aclose`.
        """
        self._ensure_open()
        if not envelopes:
            return []
        await self._know({envelope.family for envelope in envelopes})
        messages: list[Outgoing] = []
        parts: list[int] = []
        for envelope in envelopes:
            found = self._messages(envelope)
            messages += found
            parts.append(len(found))
        outcomes = iter(await self._publisher.send(messages))
        results = [_together([next(outcomes) for _ in range(count)]) for count in parts]
        for envelope, result in zip(envelopes, results, strict=True):
            if result is Published.UNROUTABLE:
                _log.error("no queue takes %s (event %s): is its listener declared?", envelope.name, envelope.id)
            elif result is Published.REFUSED:
                _log.error(
                    "refused %s (event %s): the broker said no, or AMQP cannot carry it", envelope.name, envelope.id
                )
        return results

    async def subscribe(self, subscription: Subscription, handler: Handler) -> Consumer:
        """Run `handler` for what arrives; resumes by itself after a lost connection.

        Returns once it consumes, or at once when the broker is away. Raises `StartRefused` for a queue that exists
        with other arguments, and `BusClosed` after `aclose`.
        """
        self._ensure_open()
        if self._consuming is None:
            self._consuming = Supervisor("consuming", self._consuming_address.hosts, self._backoff)
        if not subscription.broadcast:
            self._declared[subscription.queue] = subscription

        async def redeclare() -> None:
            if (connection := self._publishing.connection) is not None:
                await self._apply(connection, [subscription], [])

        consumer = RabbitConsumer(
            subscription,
            handler,
            topology=self._topology,
            supervisor=self._consuming,
            publisher=self._publisher,
            redeclare=redeclare,
            backoff=self._backoff,
        )
        self._consumers = [each for each in self._consumers if not each.stopped] + [consumer]
        try:
            await consumer.wait_started()
            self._ensure_open()
        except BaseException:
            await consumer.stop(0)
            raise
        return consumer

    async def check(self) -> Check:
        """``pass`` while connected, ``warn`` while the broker is away, blocks, or has a queue that cannot be used."""
        if self._closed:
            return Check("warn", "the bus is closed")
        for supervisor in (self._publishing, self._consuming):
            if supervisor is None:
                continue
            if supervisor.up is None:
                return Check("warn", f"{supervisor.name}: {supervisor.reason}")
            if supervisor.up.blocked:
                return Check("warn", f"the broker takes no publishes: {supervisor.up.blocked}")
        problems = [*self._problems, *(each.problem for each in self._consumers if each.problem)]
        if problems:
            return Check("warn", "; ".join(problems))
        return Check("pass")

    async def aclose(self) -> None:
        """Stop all consumers and close both connections; nothing is left running."""
        if self._closing is None:
            self._closed = True
            self._closing = asyncio.create_task(self._close(), name="rabbitmq close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await asyncio.gather(*(consumer.stop(self._grace) for consumer in self._consumers))
        supervisors = [each for each in (self._consuming, self._publishing) if each is not None]
        await asyncio.gather(*(each.aclose(self._grace) for each in supervisors))

    def _ensure_open(self) -> None:
        if self._closed:
            raise BusClosed("the bus is closed")

    def _messages(self, envelope: Envelope) -> list[Outgoing]:
        try:
            properties, body = encode(envelope)
        except ValueError:
            _log.exception("event %s cannot be published", envelope.id)
            return []
        exchange = self._topology.exchange(envelope.family)
        if not envelope.heard:
            # The broker removes this header; see `topology` for what it is for.
            properties.headers["BCC"] = [f"{EVERYTHING}.{envelope.name}"]
            return [Outgoing(exchange, envelope.name, properties, body, mandatory=False)]
        return [
            Outgoing(exchange, envelope.name, properties, body, mandatory=True),
            Outgoing(self._topology.everything, envelope.name, properties, body, mandatory=False),
        ]

    async def _know(self, families: set[str]) -> None:
        """Publishing to an exchange that does not exist would cost the channel and all that is in flight."""
        if unknown := families - self._standing:
            await self.declare([], sorted(unknown))

    async def _prepare(self, connection: Connection) -> None:
        self._problems = await self._apply(connection, list(self._declared.values()), sorted(self._families))
        for found in self._problems:
            _log.error("%s", found)
        await self._publisher.prepare(connection)

    async def _apply(
        self, connection: Connection, subscriptions: Sequence[Subscription], families: Sequence[str]
    ) -> list[str]:
        problems = []
        channel = await connection.channel()
        steps: list[tuple[str, Callable[[Channel], Awaitable[object]]]] = [
            *((f"{family}.events", partial(self._topology.declare_family, family=family)) for family in families),
            *((each.queue, partial(self._topology.declare, subscription=each)) for each in subscriptions),
        ]
        try:
            for name, step in steps:
                try:
                    await step(channel)
                except ChannelClosed as error:
                    problems.append(problem(name, error))
                    channel = await connection.channel()
        finally:
            await channel.close()
        self._standing |= set(families)
        return problems


def refuse_proactor(loop: asyncio.AbstractEventLoop) -> None:
    """Raise `StartRefused` for an event loop that cannot watch sockets, as the default one on Windows."""
    if type(loop).add_reader in (asyncio.AbstractEventLoop.add_reader, asyncio.BaseEventLoop.add_reader):
        raise StartRefused(
            [f"the event loop {type(loop).__name__} cannot watch sockets: RabbitMQ needs asyncio.SelectorEventLoop"]
        )


def _together(outcomes: Sequence[Published]) -> Published:
    """The outcome of an event from those of its messages: the first that is not a success."""
    if not outcomes:
        return Published.REFUSED
    return next((outcome for outcome in outcomes if outcome is not Published.CONFIRMED), Published.CONFIRMED)
