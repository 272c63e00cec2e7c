"""A running subscription: takes deliveries, runs the handler as a task for each, settles them.

A delivery is acknowledged only after its handler returned, or after the broker confirmed the copy that waits in a
retry tier or lies among the dead letters. Until then a lost connection or a killed process brings it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable

from orion_core.adapters.rabbitmq.channel import Buffer, Channel, ChannelClosed, ConsumerCancelled, Incoming
from orion_core.adapters.rabbitmq.connection import Connection
from orion_core.adapters.rabbitmq.history import History, moved
from orion_core.adapters.rabbitmq.messages import NotAnEvent, decode, hop, started, traceparent
from orion_core.adapters.rabbitmq.publisher import Outgoing, Publisher
from orion_core.adapters.rabbitmq.supervisor import Backoff, Supervisor
from orion_core.adapters.rabbitmq.topology import Topology
from orion_core.errors import StartRefused
from orion_core.ports.bus import Delivery, Disconnected, Handler, Published, Reject, Subscription

_log = logging.getLogger("orion.bus")
_SUSPECT = 2
"""After so many deliveries that nobody settled, an event may be one that takes its process down."""
_SHUFFLE = 0.1


class RabbitConsumer:
    """Runs `handler` for one subscription over every connection that comes, until stopped."""

    def __init__(
        self,
        subscription: Subscription,
        handler: Handler,
        *,
        topology: Topology,
        supervisor: Supervisor,
        publisher: Publisher,
        redeclare: Callable[[], Awaitable[None]],
        backoff: Backoff,
    ) -> None:
        self.subscription = subscription
        self.problem = ""
        """Why nothing is consumed although the broker is there; empty while it is."""
        self._handler = handler
        self._topology = topology
        self._supervisor = supervisor
        self._publisher = publisher
        self._redeclare = redeclare
        self._backoff = backoff
        self._slots = asyncio.Semaphore(subscription.concurrency)
        self._alone = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._channel: Channel | None = None
        self._tag = ""
        self._buffer: Buffer | None = None
        self._stopped: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._task = self._spawn(self._run(), "consume")

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called and is done."""
        return self._stopped is not None and self._stopped.done()

    async def wait_started(self) -> None:
        """Until it consumes, or until the broker was found to be away; raises `StartRefused` when it cannot."""
        away = asyncio.ensure_future(self._supervisor.wait_tried())
        tried = asyncio.ensure_future(self._tried.wait())
        try:
            await asyncio.wait({away, tried}, return_when=asyncio.FIRST_COMPLETED)
            if self._supervisor.up is not None:
                await tried
        finally:
            for task in (away, tried):
                task.cancel()
        if self.problem:
            raise StartRefused([self.problem])

    async def stop(self, grace: float) -> None:
        """Take nothing new, wait up to `grace` seconds for running handlers, give back what was not finished."""
        if self._stopped is None:
            self._stopped = self._spawn(self._stop(grace), "stop")
        await asyncio.shield(self._stopped)

    async def _stop(self, grace: float) -> None:
        deadline = asyncio.get_running_loop().time() + grace
        self._tried.set()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        channel = self._channel
        if channel is not None:
            with contextlib.suppress(Disconnected, ChannelClosed, TimeoutError):
                async with asyncio.timeout(max(grace, 1.0)):
                    await channel.cancel(self._tag)
        if self._buffer is not None:
            for incoming in self._buffer.drain():
                incoming.give_back()
        elif channel is not None:
            # Stopped while subscribing: deliveries may be on their way for which nobody is here.
            await self._close(channel, grace)
        left = deadline - asyncio.get_running_loop().time()
        if self._running:
            await asyncio.wait(self._running, timeout=max(left, 0))
        for task in self._running:
            task.cancel()
        if self._running:
            _log.warning("%d handlers of %s were not finished", len(self._running), self.subscription.queue)
            await asyncio.wait(self._running, timeout=max(grace, 1.0))
        if channel is not None:
            await self._close(channel, grace)

    async def _close(self, channel: Channel, grace: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(grace, 1.0)):
                await channel.close()

    async def _run(self) -> None:
        failures = 0
        while True:
            connection = await self._supervisor.wait_up()
            try:
                await self._session(connection)
            except Exception as error:  # whatever it is, consuming must go on
                failures = 0 if self._buffer is not None else failures + 1
                await self._lost(connection, error)
            await asyncio.sleep(self._backoff.delay(failures))

    async def _lost(self, connection: Connection, error: Exception) -> None:
        queue, channel = self.subscription.queue, self._channel
        self._buffer = self._channel = None
        if not isinstance(error, (Disconnected, ChannelClosed)):
            _log.error("consuming %s failed", queue, exc_info=error)
        if channel is not None:
            await channel.close()
        if connection.is_open:
            _log.error("consuming %s was ended by the broker: %s", queue, error)
            self.problem = problem(queue, error)
        self._tried.set()

    async def _session(self, connection: Connection) -> None:
        channel = self._channel = await connection.channel()
        while True:
            queue = await self._topology.declare(channel, self.subscription)
            self._tag, buffer = await channel.consume(queue, self.subscription.concurrency)
            self._buffer = buffer
            self.problem = ""
            self._tried.set()
            try:
                while True:
                    incoming = await buffer.get()
                    if not incoming.stale:
                        self._start(incoming)
            except ConsumerCancelled:
                self._buffer = None
                # The channel stays open, so nothing else would ever notice that the queue is gone.
                _log.error("the queue of %s was deleted; declaring it again", queue)

    def _start(self, incoming: Incoming) -> None:
        task = self._spawn(self._handle(incoming), "handle")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _spawn(self, work: Awaitable[None], what: str) -> asyncio.Task[None]:
        async def run() -> None:
            await work

        # Its own context: nothing of whoever subscribed, or of the delivery before, may reach this one.
        name = f"rabbitmq {what} {self.subscription.queue}"
        return asyncio.create_task(run(), name=name, context=contextvars.Context())

    async def _handle(self, incoming: Incoming) -> None:
        try:
            async with self._slots:
                error = await self._attempt(incoming)
            if error is None or self.subscription.broadcast:
                incoming.ack()
            else:
                await self._failed(incoming, error)
        except asyncio.CancelledError:
            incoming.give_back()
            raise
        except Exception:
            _log.exception("a delivery of %s could not be settled", self.subscription.queue)
            incoming.reject()

    async def _attempt(self, incoming: Incoming) -> Exception | None:
        history = History.before(incoming)
        try:
            envelope = decode(incoming.properties, incoming.body)
            delivery = Delivery(envelope, history.attempts + 1, traceparent(incoming.properties))
            async with self._apart(history.unsettled >= _SUSPECT):
                await self._handler(delivery)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return RuntimeError("something the handler waited for was cancelled")
        except Exception as error:
            _log.warning("%s failed: %s: %s", self.subscription.queue, type(error).__name__, error)
            return error
        return None

    @contextlib.asynccontextmanager
    async def _apart(self, suspect: bool) -> AsyncIterator[None]:
        """Keep suspects apart: a crash counts against all that the process had in hand.

        They run one at a time and in random order, so that the innocent are done before all reach the limit together.
        """
        if not suspect:
            yield
            return
        await asyncio.sleep(random.uniform(0, _SHUFFLE))  # noqa: S311 - no secret
        async with self._alone:
            yield

    async def _failed(self, incoming: Incoming, error: Exception) -> None:
        history = History.before(incoming).failed(error)
        hopeless = isinstance(error, (Reject, NotAnEvent))
        tier = None if hopeless else self._topology.tier(self.subscription, history.failures)
        queue = tier or self._topology.dead(self.subscription)
        properties = moved(incoming.properties, history, hop(started(incoming.properties)))
        if tier is None:
            _log.error("%s: dead letter after %d attempts", self.subscription.queue, history.attempts)
        await self._move(incoming, Outgoing("", queue, properties, incoming.body, mandatory=True))

    async def _move(self, incoming: Incoming, outgoing: Outgoing) -> None:
        attempt = 0
        while not incoming.stale:
            try:
                (outcome,) = await self._publisher.send([outgoing])
            except Disconnected:
                outcome = Published.UNKNOWN
            if outcome is Published.CONFIRMED:
                incoming.ack()
                return
            _log.warning("no copy in %s yet: %s", outgoing.routing_key, outcome.value)
            await asyncio.sleep(self._backoff.delay(attempt))
            attempt += 1
            if outcome is Published.UNROUTABLE:
                await self._redeclare()


def problem(queue: str, error: Exception) -> str:
    """Why a queue or exchange cannot be used, and what to do about it."""
    if isinstance(error, ChannelClosed) and "inequivalent" in str(error):
        return f"{queue} exists with other arguments ({error}): give it a new name, or change it by a broker policy"
    return f"{queue} cannot be used: {error}"
