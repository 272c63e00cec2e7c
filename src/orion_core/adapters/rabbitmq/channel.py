"""One channel of one connection: requests with answers, confirmed publishing, consuming, acknowledging.

pika's callbacks run inside its parser, where an exception would close the connection: here they only resolve futures
and fill bounded buffers. Whatever is still open when the channel closes fails at once with the reason.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from pika import BasicProperties, spec
from pika.channel import Channel as RawChannel
from pika.exceptions import ChannelClosed as RawChannelClosed

from orion_core.adapters.rabbitmq.messages import normalised
from orion_core.ports.bus import Disconnected, Published

_log = logging.getLogger("orion.bus")
_generations = itertools.count(1)


class ChannelClosed(Exception):
    """The broker closed the channel (`code` says why, as 404 or 406), or we did (0)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


class ConsumerCancelled(Exception):
    """The broker ended a consumer, because its queue is gone; the channel lives on."""


@attrs.frozen(eq=False)
class Incoming:
    """One delivery, bound to the channel it came by: it can be settled there and nowhere else.

    Its headers are `normalised`.

    Settling it after that channel closed does nothing, since the broker gives it out again anyway, and a tag of one
    channel means something else, or nothing, on another.
    """

    channel: Channel
    tag: int
    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes

    @property
    def stale(self) -> bool:
        """Whether its channel is gone."""
        return not self.channel.is_open

    def ack(self) -> bool:
        """It is done; False if it was too late to say so."""
        return self._settle(self.channel.raw.basic_ack)

    def give_back(self) -> bool:
        """It was not begun or not finished: another consumer may have it; False if that happened by itself."""
        return self._settle(self.channel.raw.basic_nack)

    def reject(self) -> bool:
        """It went wrong in a way that must count: as `give_back`, up to the queue's delivery limit."""
        return self._settle(self.channel.raw.basic_reject)

    def _settle(self, how: Callable[[int], None]) -> bool:
        if self.stale:
            _log.debug("a delivery of generation %d came to nothing: its channel is gone", self.channel.generation)
            return False
        how(self.tag)
        return True


class Buffer:
    """Deliveries between pika's callback and their consumer; bounded, and ended with a reason."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Incoming] = deque()
        self._ended: Exception | None = None
        self._wake = asyncio.Event()

    def put(self, item: Incoming) -> bool:
        """Add `item`; False when there is no room."""
        if len(self._items) >= self._size:
            return False
        self._items.append(item)
        self._wake.set()
        return True

    def end(self, reason: Exception) -> None:
        """Let `get` raise `reason` once it has given out what is there."""
        self._ended = self._ended or reason
        self._wake.set()

    async def get(self) -> Incoming:
        """The next delivery; raises the reason for which there will be none."""
        while not self._items:
            if self._ended is not None:
                raise self._ended
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()

    def drain(self) -> Iterator[Incoming]:
        """All that is there now."""
        while self._items:
            yield self._items.popleft()


@attrs.define(eq=False)
class _Pending:
    message_id: str | None
    route: tuple[str, str]
    mandatory: bool
    future: asyncio.Future[Published]
    returned: bool = False


class Channel:
    """An open channel; `generation` tells it from every other one of this process."""

    def __init__(self, raw: RawChannel) -> None:
        self.raw = raw
        self.generation = next(_generations)
        self.closed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._requests: set[asyncio.Future[Any]] = set()
        self._pending: dict[int, _Pending] = {}
        self._tag = 0
        self._buffers: dict[str, Buffer] = {}
        raw.add_on_close_callback(self._on_close)
        raw.add_on_cancel_callback(self._on_cancel)
        raw.add_on_return_callback(self._on_return)

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return not self.closed.done() and bool(self.raw.is_open)

    @property
    def in_flight(self) -> int:
        """Publishes the broker has not answered yet."""
        return len(self._pending)

    async def request(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of `raw` and return the broker's answer.

        Raises `ChannelClosed` when the broker refuses by closing the channel and `Disconnected` when it is away.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._ensure_open()
        self._requests.add(answer)
        try:
            call(*args, callback=lambda frame: _resolve(answer, frame), **kwargs)
            return await answer
        finally:
            self._requests.discard(answer)

    async def confirm(self) -> None:
        """Ask the broker to confirm every publish; needed once, before `publish`."""
        await self.request(self.raw.confirm_delivery, self._on_confirm)

    def publish(
        self, exchange: str, routing_key: str, body: bytes, properties: BasicProperties, *, mandatory: bool
    ) -> asyncio.Future[Published]:
        """Send a message; the future says what became of it, or fails with `Disconnected` or `ChannelClosed`.

        Raises the same at once when the channel is closed, and ValueError for what AMQP cannot carry.
        """
        self._ensure_open()
        try:
            self.raw.basic_publish(exchange, routing_key, body, properties, mandatory)
        except Exception as error:  # pika fails in many ways on values that have no AMQP form
            self._ensure_open()
            raise ValueError(f"AMQP cannot carry the message: {error!r}") from error
        self._tag += 1
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        self._pending[self._tag] = _Pending(properties.message_id, (exchange, routing_key), mandatory, future)
        return future

    async def consume(self, queue: str, prefetch: int) -> tuple[str, Buffer]:
        """Take from `queue`, at most `prefetch` unsettled deliveries at a time; returns the consumer's tag too."""
        await self.request(self.raw.basic_qos, prefetch_count=prefetch)
        buffer = Buffer(prefetch)
        tag = f"{queue}.{self.generation}.{len(self._buffers)}"
        self._buffers[tag] = buffer

        def on_message(_: RawChannel, method: spec.Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
            self._on_message(buffer, method, properties, body)

        await self.request(self.raw.basic_consume, queue, on_message, consumer_tag=tag)
        return tag, buffer

    async def cancel(self, tag: str) -> None:
        """Take nothing more for the consumer `tag`; what it has may still be settled."""
        if tag in self._buffers:
            del self._buffers[tag]
            await self.request(self.raw.basic_cancel, tag)

    async def close(self) -> None:
        """Close the channel; what is unsettled goes back to its queue."""
        if self.is_open:
            self.raw.close()
        if not self.closed.done():
            await asyncio.shield(self.closed)

    def _ensure_open(self) -> None:
        if self.closed.done():
            raise self.closed.result()
        if not self.raw.is_open:
            raise Disconnected("the channel to the broker is closing")

    # Callbacks of pika: they must not raise.

    def _on_close(self, _: RawChannel, reason: Exception) -> None:
        error: Exception
        if isinstance(reason, RawChannelClosed):
            error = ChannelClosed(int(reason.reply_code), str(reason.reply_text))
        else:
            error = Disconnected(f"the connection to the broker was lost: {reason!r}")
        _resolve(self.closed, error)
        for answer in self._requests:
            _fail(answer, error)
        for pending in self._pending.values():
            _fail(pending.future, error)
        self._pending.clear()
        for buffer in self._buffers.values():
            buffer.end(error)

    def _on_cancel(self, frame: Any) -> None:
        if buffer := self._buffers.pop(frame.method.consumer_tag, None):
            buffer.end(ConsumerCancelled())

    def _on_message(self, buffer: Buffer, method: spec.Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        tag = method.delivery_tag
        if tag is None:
            _log.error("a delivery without a tag was left alone")
            return
        properties.headers = normalised(properties.headers)
        incoming = Incoming(self, int(tag), method.exchange or "", method.routing_key or "", properties, body)
        if not buffer.put(incoming):
            _log.error("the broker sent more than the prefetch allows; the delivery was given back")
            incoming.give_back()

    def _on_return(self, _: RawChannel, method: spec.Basic.Return, properties: BasicProperties, __: bytes) -> None:
        # A return carries no tag. It comes before the ack, and the oldest of equal messages is returned first.
        route = (method.exchange or "", method.routing_key or "")
        for pending in self._pending.values():
            if (
                pending.mandatory
                and not pending.returned
                and pending.message_id == properties.message_id
                and pending.route == route
            ):
                pending.returned = True
                return

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        up_to = int(method.delivery_tag or 0)
        if method.multiple:
            tags = list(itertools.takewhile(lambda tag: tag <= up_to, self._pending)) if up_to else list(self._pending)
        else:
            tags = [up_to]
        refused = isinstance(method, spec.Basic.Nack)
        for tag in tags:
            if pending := self._pending.pop(tag, None):
                taken = Published.UNROUTABLE if pending.returned else Published.CONFIRMED
                _resolve(pending.future, Published.REFUSED if refused else taken)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _retrieve(future: asyncio.Future[Published]) -> None:
    # A publisher that was cancelled meanwhile no longer asks.
    if not future.cancelled():
        future.exception()
