"""The inbox: an event changes a listener's service once, however often it is delivered.

The row (queue, event id) is written first, in the transaction of the listener's own work: a second delivery finds it
and is done. A listener that raises leaves neither row nor effect.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from orion_core import codec
from orion_core.context import Actor, Context, use
from orion_core.errors import Invalid
from orion_core.events import Listener, event_type
from orion_core.ports.bus import Delivery, Handler, Reject
from orion_core.ports.database import Database, DatabaseUnavailable

log = logging.getLogger("orion.inbox")

IMMEDIATE = (0.02, 0.2)
"""Seconds between the tries inside one delivery; each is a transaction of its own."""
IMMEDIATE_LIMIT = 2.0
"""Seconds after which a failure is left to the next delivery."""
LISTENER_TIMEOUT = 60.0
"""Seconds after which a listener counts as failed: long work belongs into a job."""


def receive(service: Any, name: str, listener: Listener, db: Database | None) -> Handler:
    """The bus handler for one listener of `service`, which is served as `name` with the database `db`."""
    method = getattr(service, listener.method)
    known = {(event_type(cls).name, event_type(cls).version): cls for cls in listener.events}
    insert = (
        ""
        if db is None
        else "INSERT INTO orion_inbox (queue, event_id, at_ms) "
        f"VALUES ($1, $2, {db.dialect.now_ms}) ON CONFLICT (queue, event_id) DO NOTHING RETURNING at_ms"
    )

    async def once(event: Any, delivery: Delivery) -> None:
        if db is None or listener.broadcast:
            await method(event)
            return
        async with db.transaction():
            if await db.fetch(insert, listener.queue, delivery.envelope.id):
                await method(event)
            else:
                log.debug("%s has seen %s already", listener.queue, delivery.envelope.id)

    async def handle(delivery: Delivery) -> None:
        envelope = delivery.envelope
        event: Any = envelope
        if known:
            cls = known.get((envelope.name, envelope.version))
            if cls is None:
                log.info("%s does not know %s, passed over", listener.queue, envelope.type)
                return
            try:
                event = codec.loads(envelope.data, cls)
            except Invalid as error:
                raise Reject(f"{envelope.type} does not keep its contract: {error.detail}") from error
        context = Context(
            actor=Actor("service", name, originator=envelope.originator),
            correlation_id=envelope.correlation_id,
            causation_id=str(envelope.id),
            traceparent=delivery.traceparent,
            tracestate=envelope.tracestate,
        )
        began = asyncio.get_running_loop().time()
        pauses = iter(IMMEDIATE)
        with use(context):
            while True:
                try:
                    async with asyncio.timeout(LISTENER_TIMEOUT):
                        await once(event, delivery)
                except (Reject, TimeoutError):
                    raise
                except Exception as error:
                    if isinstance(error, DatabaseUnavailable) and db is not None and await _waited(db, listener.queue):
                        continue
                    pause = next(pauses, None)
                    if pause is None or asyncio.get_running_loop().time() - began > IMMEDIATE_LIMIT:
                        log.warning(
                            "%s failed on %s, attempt %d: %s",
                            listener.queue,
                            envelope.type,
                            delivery.attempt,
                            error,
                            exc_info=True,
                        )
                        raise
                    await asyncio.sleep(pause)
                else:
                    return

    return handle


async def _waited(db: Database, queue: str) -> bool:
    """Wait while `db` is away; False if it is there. An outage is no failure of the listener: it costs no attempt."""
    pause = 0.1
    while (await db.check()).status != "pass":
        if pause == 0.1:
            log.warning("the database of %s is away: waiting for it", queue)
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)
    return pause > 0.1
