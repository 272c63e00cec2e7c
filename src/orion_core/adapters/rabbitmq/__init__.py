"""The bus on RabbitMQ, on pika's AsyncioConnection: one event loop, no threads, two connections.

`bus` is the port; `topology` the exchanges and queues; `messages` and `history` the shape of a message; `publisher` and
`consumer` the two directions; `supervisor`, `connection` and `channel` the client.
"""

import logging

from orion_core.adapters.rabbitmq.bus import RabbitBus

# pika reports each lost connection several times, at ERROR and with a traceback; this adapter says it once.
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)

__all__ = ["RabbitBus"]
