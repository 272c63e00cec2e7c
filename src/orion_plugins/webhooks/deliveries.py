"""The life of a delivery: written, tried, and judged until it is over.

An attempt is begun in one transaction and ended in another; between them, outside of any, it is sent. Whoever dies in
between has recorded an attempt without outcome, and the job runs again with the same `webhook-id`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from orion_core.contracts.webhooks import WebhookDelivered, WebhookEndpointDisabled, WebhookExhausted
from orion_core.events import Events
from orion_core.ids import new_id
from orion_core.jobs import Retry
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_plugins.webhooks import signing, store
from orion_plugins.webhooks.outcomes import Outcome, Verdict
from orion_plugins.webhooks.tables import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
    WebhookSecret,
)

GONE = "the receiver answered 410"
_EARLY = timedelta(seconds=2)
"""A job that comes by so much before its time was brought back by the engine and waits on."""


@attrs.frozen
class Begun:
    """An attempt that is about to be sent."""

    delivery_id: UUID
    attempt_id: UUID
    message_id: UUID
    turn: int
    url: str
    payload: str = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(repr=False)

    @property
    def body(self) -> bytes:
        """Exactly what is sent and signed."""
        return self.payload.encode()

    def headers(self, at: datetime) -> dict[str, str]:
        """All headers of the request but those of the connection."""
        return {
            "content-type": "application/json",
            "user-agent": "ORION-Webhooks/1",
            "accept-encoding": "identity",
            **signing.headers(self.secrets, store.message_id(self.message_id), at, self.body),
        }


@attrs.frozen
class Deliveries:
    """Begins and ends attempts on the tables of the service."""

    db: Database
    events: Events
    clock: Clock
    keyring: Keyring

    async def begin(self, delivery_id: UUID, turn: int | None) -> Begun | None:
        """Record that the delivery is tried, as the scheduled attempt of `turn` or else as a manual one.

        None if there is nothing to send any more. Raises `Retry` for a scheduled attempt whose time has not come.
        """
        now = self.clock.now()
        async with self.db.transaction():
            row = await WebhookDelivery.objects().where(WebhookDelivery.id == delivery_id).first()
            if row is None or (turn is not None and (row.status != "pending" or row.turn != turn)):
                return None
            if turn is not None and row.next_attempt_at is not None and row.next_attempt_at - now > _EARLY:
                raise Retry("its time has not come", after=(row.next_attempt_at - now).total_seconds())
            endpoint = await WebhookEndpoint.objects().where(WebhookEndpoint.id == row.endpoint_id).first()
            message = await WebhookMessage.objects().where(WebhookMessage.id == row.message_id).first()
            if endpoint is None or not endpoint.enabled or message is None or not message.payload:
                gone = "the payload was removed" if endpoint and endpoint.enabled else "the endpoint is not enabled"
                await self.abort(WebhookDelivery.id == delivery_id, gone)
                return None
            secrets = (
                await WebhookSecret.objects()
                .where(WebhookSecret.endpoint_id == endpoint.id)
                .order_by(WebhookSecret.id, ascending=False)
            )
            counted = await (
                WebhookDelivery.update(
                    {
                        WebhookDelivery.attempts: WebhookDelivery.attempts + 1,
                        # A manual attempt takes the place of the scheduled one.
                        WebhookDelivery.turn: WebhookDelivery.turn + (1 if turn is None else 0),
                    }
                )
                # Somebody may have aborted it since it was read, or a manual attempt may have taken over.
                .where(WebhookDelivery.id == delivery_id if turn is None else _unchanged(row))
                .returning(WebhookDelivery.attempts, WebhookDelivery.turn)
            )
            if not counted:
                return None
            attempt = WebhookAttempt(
                id=new_id(),
                delivery_id=delivery_id,
                endpoint_id=endpoint.id,
                number=counted[0]["attempts"],
                manual=turn is None,
                outcome="started",
                at=now,
            )
            await WebhookAttempt.insert(attempt)
            live = [each for each in secrets if each.expires_at is None or each.expires_at > now]
            return Begun(
                delivery_id=delivery_id,
                attempt_id=attempt.id,
                message_id=message.id,
                turn=counted[0]["turn"],
                url=endpoint.url,
                payload=message.payload,
                # Inside: an attempt whose secret cannot be opened was never made.
                secrets=tuple(store.unsealed(self.keyring, each) for each in live),
            )

    async def end(self, begun: Begun, outcome: Outcome, verdict: Verdict) -> bool:
        """Record what came of an attempt; True if the delivery waits for another. Needs an open transaction."""
        waits = await self._conclude(begun, outcome, verdict)
        # After the delivery, as an erasure does, so that neither waits for the other's rows.
        mine = WebhookAttempt.id == begun.attempt_id
        await WebhookAttempt.update(
            {
                WebhookAttempt.outcome: outcome.kind,
                WebhookAttempt.status_code: outcome.status,
                WebhookAttempt.latency_ms: outcome.latency_ms,
                WebhookAttempt.address: outcome.address,
                WebhookAttempt.excerpt: outcome.excerpt,
                WebhookAttempt.error: outcome.detail,
            }
        ).where(mine)
        # Asked only now that the row is ours: an erasure that comes later will find the answer and blank it by itself.
        if not await WebhookMessage.exists().where(
            (WebhookMessage.id == begun.message_id) & (WebhookMessage.payload != "")
        ):
            await WebhookAttempt.update({WebhookAttempt.excerpt: ""}).where(mine)
        return waits

    async def _conclude(self, begun: Begun, outcome: Outcome, verdict: Verdict) -> bool:
        now = self.clock.now()
        row = await WebhookDelivery.objects().where(WebhookDelivery.id == begun.delivery_id).first()
        if row is None:
            return False
        if verdict.disable:
            await self._disable(row.endpoint_id, begun.url, GONE)
        # A later attempt has taken over, or the delivery is over: this one can only turn it into a success.
        current = row.turn == begun.turn and row.status == "pending"
        if verdict.status == "succeeded":
            if row.status != "succeeded" and await self._change(row, "succeeded", now, last_status=outcome.status):
                await self.events.publish(WebhookDelivered(row.id, row.endpoint_id, row.type, row.attempts))
        elif not current:
            await WebhookDelivery.update({WebhookDelivery.last_status: outcome.status}).where(
                (WebhookDelivery.id == row.id) & (WebhookDelivery.status != "succeeded")
            )
        elif verdict.after is not None:
            due = now + timedelta(seconds=verdict.after)
            written = await (
                WebhookDelivery.update(
                    {
                        WebhookDelivery.step: row.step + 1,
                        WebhookDelivery.next_attempt_at: due,
                        WebhookDelivery.last_status: outcome.status,
                        WebhookDelivery.detail: outcome.detail,
                    }
                )
                .where(_unchanged(row))
                .returning(WebhookDelivery.id)
            )
            return bool(written)
        else:
            changed = await self._change(row, verdict.status, now, last_status=outcome.status, detail=outcome.detail)
            if changed and verdict.status == "dead":
                await self._tell_exhausted(row, outcome.detail)
        return False

    async def give_up(self, row: WebhookDelivery, reason: str) -> None:
        """End a delivery that cannot be sent. Needs an open transaction."""
        if await self._change(row, "dead", self.clock.now(), detail=reason):
            await self._tell_exhausted(row, reason)

    async def _tell_exhausted(self, row: WebhookDelivery, reason: str) -> None:
        await self.events.publish(WebhookExhausted(row.id, row.endpoint_id, row.type, row.attempts, reason))

    async def abort(self, condition: Any, detail: str) -> None:
        """Abort whatever is pending and meets `condition`. Needs an open transaction."""
        await WebhookDelivery.update(
            {
                WebhookDelivery.status: "aborted",
                WebhookDelivery.detail: detail,
                WebhookDelivery.next_attempt_at: None,
                WebhookDelivery.finished_at: self.clock.now(),
            }
        ).where((WebhookDelivery.status == "pending") & condition)

    async def _disable(self, endpoint_id: UUID, url: str, reason: str) -> None:
        now = self.clock.now()
        written = await (
            WebhookEndpoint.update(
                {
                    WebhookEndpoint.enabled: False,
                    WebhookEndpoint.disabled_reason: reason,
                    WebhookEndpoint.updated_at: now,
                }
            )
            # With another URL by now, it is not this receiver's endpoint any more.
            .where(
                (WebhookEndpoint.id == endpoint_id) & (WebhookEndpoint.url == url) & WebhookEndpoint.enabled.eq(True)
            )
            .returning(WebhookEndpoint.created_by)
        )
        if written:
            await self.abort(WebhookDelivery.endpoint_id == endpoint_id, reason)
            await self.events.publish(WebhookEndpointDisabled(endpoint_id, written[0]["created_by"], reason))

    async def _change(self, row: WebhookDelivery, status: str, now: datetime, **columns: Any) -> bool:
        changes: dict[Any, Any] = {
            "status": status,
            "finished_at": now,
            "next_attempt_at": None,
            "detail": "",
            **columns,
        }
        condition = WebhookDelivery.status != "succeeded"
        return bool(
            await WebhookDelivery.update(changes)
            .where((WebhookDelivery.id == row.id) & condition)
            .returning(WebhookDelivery.id)
        )


def _unchanged(row: WebhookDelivery) -> Any:
    return (
        (WebhookDelivery.id == row.id)
        & (WebhookDelivery.turn == row.turn)
        & (WebhookDelivery.step == row.step)
        & (WebhookDelivery.status == "pending")
    )


async def write(message: WebhookMessage, endpoints: Iterable[UUID], *, test: bool = False) -> list[WebhookDelivery]:
    """Write `message` and a delivery for each of `endpoints`; none if its event has a message already."""
    new = await (
        WebhookMessage.insert(message)
        .on_conflict(target=WebhookMessage.event_id, action="DO NOTHING")
        .returning(WebhookMessage.id)
    )
    if not new:
        return []
    rows = [
        WebhookDelivery(
            id=new_id(),
            message_id=message.id,
            endpoint_id=endpoint_id,
            type=message.type,
            status="pending",
            test=test,
            created_at=message.created_at,
        )
        for endpoint_id in endpoints
    ]
    await WebhookDelivery.insert(*rows)
    return rows
