"""The bus on RabbitMQ keeps the promises of its port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from rabbit_broker import QUICK, a_bus, dead_letters

from orion_core.adapters.rabbitmq import RabbitBus
from orion_core.ports.bus import Bus
from orion_core.testing.services import amqp_url
from orion_core.testing.suites.bus import BusSuite, DeadLetter, Features


class TestRabbitBus(BusSuite):
    features = Features(shared=True, persistent=True, ordered=True)

    def bus(self) -> AbstractAsyncContextManager[Bus]:
        return a_bus()

    @asynccontextmanager
    async def another(self, bus: Bus) -> AsyncIterator[Bus]:
        assert isinstance(bus, RabbitBus)
        other = await RabbitBus.open(amqp_url(), prefix=bus._topology.prefix, **QUICK)
        try:
            yield other
        finally:
            await other.aclose()

    async def dead_letters(self, bus: Bus, queue: str) -> Sequence[DeadLetter]:
        assert isinstance(bus, RabbitBus)
        return await dead_letters(bus, queue)
