"""Confirmed publishing: a bounded number in flight, waiting while the broker takes nothing, no outcome unaccounted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import attrs
from pika import BasicProperties

from orion_core.adapters.rabbitmq.channel import Channel, ChannelClosed
from orion_core.adapters.rabbitmq.connection import Connection
from orion_core.adapters.rabbitmq.supervisor import Supervisor
from orion_core.ports.bus import Disconnected, Published

_log = logging.getLogger("orion.bus")
_BREATH = 50


@attrs.frozen
class Outgoing:
    """One message on its way: where to, what, and whether a queue must take it."""

    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes
    mandatory: bool


class Publisher:
    """Sends messages over the supervised connection, in order, at most `window` unanswered at a time.

    A message keeps its place in the window until the broker answers or the connection ends, however long its sender
    waits: so a broker that is silent cannot make this process buffer more.
    """

    def __init__(self, supervisor: Supervisor, confirm_timeout: float, window: int) -> None:
        self._supervisor = supervisor
        self._timeout = confirm_timeout
        self._window = asyncio.Semaphore(window)
        self._channel: Channel | None = None

    async def prepare(self, connection: Connection) -> None:
        """Open the channel for publishing on a new connection."""
        self._channel = None
        channel = await connection.channel()
        await channel.confirm()
        self._channel = channel

    async def send(self, messages: Sequence[Outgoing]) -> Sequence[Published]:
        """What became of each of `messages`; raises `Disconnected` when there is no connection to begin with."""
        connection, channel = self._supervisor.up, self._channel
        if connection is None or channel is None or not connection.is_open:
            raise Disconnected(f"the broker is away: {self._supervisor.reason}")
        outcomes: list[Published | asyncio.Future[Published]] = []
        for message in messages:
            sent = await self._send_one(connection, channel, message)
            outcomes.append(sent)
            if sent is Published.UNKNOWN:
                break
            if len(outcomes) % _BREATH == 0:
                await asyncio.sleep(0)
        waiting = {outcome for outcome in outcomes if isinstance(outcome, asyncio.Future)}
        if waiting:
            await asyncio.wait(waiting, timeout=self._timeout)
        results = [_result(outcome) for outcome in outcomes]
        results += [Published.UNKNOWN] * (len(messages) - len(results))
        if unknown := results.count(Published.UNKNOWN):
            _log.warning("the broker did not confirm %d of %d messages", unknown, len(messages))
        if not channel.is_open and connection.is_open:
            # The broker closed the channel, as for an exchange somebody deleted: a new connection declares all again.
            connection.abort("the channel for publishing was closed")
        return results

    async def _send_one(
        self, connection: Connection, channel: Channel, message: Outgoing
    ) -> Published | asyncio.Future[Published]:
        try:
            async with asyncio.timeout(self._timeout):
                await self._window.acquire()
        except TimeoutError:
            return Published.UNKNOWN
        try:
            async with asyncio.timeout(self._timeout):
                await connection.writable.wait()
        except BaseException as error:
            self._window.release()
            if isinstance(error, TimeoutError):
                return Published.UNKNOWN
            raise
        try:
            future = channel.publish(
                message.exchange, message.routing_key, message.body, message.properties, mandatory=message.mandatory
            )
        except ValueError as error:
            self._window.release()
            _log.error("message %s refused: %s", message.properties.message_id, error)
            return Published.REFUSED
        except (Disconnected, ChannelClosed):
            self._window.release()
            return Published.UNKNOWN
        future.add_done_callback(lambda _: self._window.release())
        return future


def _result(outcome: Published | asyncio.Future[Published]) -> Published:
    if isinstance(outcome, Published):
        return outcome
    if not outcome.done() or outcome.cancelled() or outcome.exception() is not None:
        return Published.UNKNOWN
    return outcome.result()
