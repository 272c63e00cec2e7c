"""What a message carries about its own deliveries: attempts, failures, and where it came from.

Written by the client into headers ``orion-…`` whenever it moves a message to a retry tier or to the dead letters. A
message that the broker moved, because its listener kept ending the process, is described from ``x-death``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
from pika import BasicProperties

from orion_core.adapters.rabbitmq.channel import Incoming
from orion_core.adapters.rabbitmq.messages import MAX_HEADERS, normalised

_LONGEST = 2000
# Routing headers would send copies elsewhere, x-death would make the broker see a cycle and drop the message.
_NOT_CARRIED = ("CC", "BCC", "x-death", "x-delivery-count", "x-opt-", "x-first-death-", "x-last-death-", "orion-")


@attrs.frozen(kw_only=True)
class History:
    """`attempts` counts deliveries so far, `failures` those that ended with an error of the listener.

    `unsettled` is the broker's own count: deliveries that nobody settled since the message last entered its queue.
    `error` is the class of the last one and `message` its text. `exchange` and `routing_key` are the original ones.
    """

    attempts: int = 0
    unsettled: int = 0
    failures: int = 0
    error: str = ""
    message: str = ""
    first_failed: datetime | None = None
    last_failed: datetime | None = None
    exchange: str = ""
    routing_key: str = ""

    @classmethod
    def before(cls, incoming: Incoming) -> History:
        """What `incoming` says of earlier deliveries."""
        headers = incoming.properties.headers or {}
        found = cls._read(headers)
        unsettled = _number(headers.get("x-delivery-count"))
        return attrs.evolve(
            found,
            attempts=found.attempts + unsettled,
            unsettled=unsettled,
            exchange=found.exchange or incoming.exchange,
            routing_key=found.routing_key or incoming.routing_key,
        )

    @classmethod
    def of_dead_letter(cls, properties: BasicProperties, delivery_limit: int) -> History:
        """What the dead letter with `properties` says, whoever moved it there: the broker does so after the limit."""
        headers = normalised(properties.headers)
        found = cls._read(headers)
        deaths = [death for death in headers.get("x-death") or () if isinstance(death, dict)]
        killed = next((death for death in deaths if death.get("reason") == "delivery_limit"), None)
        if killed is None:
            return found
        died = killed.get("time")
        time = died.astimezone(UTC) if isinstance(died, datetime) else None
        keys = killed.get("routing-keys") or [""]
        return attrs.evolve(
            found,
            attempts=found.attempts + delivery_limit + 1,
            error="delivery_limit",
            message="the process of the listener ended, or lost its connection, each time it had this delivery",
            first_failed=found.first_failed or time,
            last_failed=time,
            exchange=found.exchange or str(killed.get("exchange", "")),
            routing_key=found.routing_key or str(keys[0]),
        )

    def failed(self, error: BaseException) -> History:
        """The same after one more delivery that ended with `error`."""
        now = datetime.now(UTC)
        return attrs.evolve(
            self,
            attempts=self.attempts + 1,
            failures=self.failures + 1,
            error=type(error).__name__,
            message=str(error)[:_LONGEST],
            first_failed=self.first_failed or now,
            last_failed=now,
        )

    def headers(self) -> dict[str, Any]:
        """The headers that `before` and `of_dead_letter` read."""
        return {
            "orion-attempts": self.attempts,
            "orion-failures": self.failures,
            "orion-error": self.error,
            "orion-message": self.message,
            "orion-first-failed": self.first_failed.isoformat() if self.first_failed else "",
            "orion-last-failed": self.last_failed.isoformat() if self.last_failed else "",
            "orion-exchange": self.exchange,
            "orion-routing-key": self.routing_key,
        }

    @classmethod
    def _read(cls, headers: dict[str, Any]) -> History:
        return cls(
            attempts=_number(headers.get("orion-attempts")),
            failures=_number(headers.get("orion-failures")),
            error=str(headers.get("orion-error", "")),
            message=str(headers.get("orion-message", "")),
            first_failed=_time(headers.get("orion-first-failed")),
            last_failed=_time(headers.get("orion-last-failed")),
            exchange=str(headers.get("orion-exchange", "")),
            routing_key=str(headers.get("orion-routing-key", "")),
        )


def moved(properties: BasicProperties, history: History, trace: dict[str, str]) -> BasicProperties:
    """`properties` for the same message in another queue, with `history` and the hop's `trace` in its headers."""
    headers = properties.headers or {}
    kept = {name: given for name, given in headers.items() if not name.startswith(_NOT_CARRIED)}
    if sum(len(name) + len(str(given)) for name, given in kept.items()) > MAX_HEADERS:
        kept = {}  # of a stranger's making: only the body, the properties and the history survive
    # Expiration would lose it in the next queue, priority has no meaning there, and the user id must be our own.
    return BasicProperties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        delivery_mode=2,
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        timestamp=properties.timestamp,
        type=properties.type,
        app_id=properties.app_id,
        headers={**kept, **trace, **history.headers()},
    )


def _number(given: Any) -> int:
    return max(0, int(given)) if isinstance(given, int) and not isinstance(given, bool) else 0


def _time(given: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(given) if isinstance(given, str) and given else None
    except ValueError:
        return None
