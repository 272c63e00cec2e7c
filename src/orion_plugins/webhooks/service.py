"""Outbound webhooks."""

from __future__ import annotations

import json
import logging
import random
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

import attrs
from piccolo.custom_types import Combinable

from orion_core.context import current
from orion_core.contracts.users import UserErased
from orion_core.contracts.webhooks import (
    STATUSES,
    AttemptPage,
    Delivery,
    DeliveryDetail,
    DeliveryPage,
    Endpoint,
    EndpointChange,
    EndpointIsDisabled,
    EndpointPage,
    EndpointSecret,
    NewEndpoint,
    PayloadRemoved,
    TooManySecrets,
    Webhooks,
)
from orion_core.events import Envelope, Events, on, on_all
from orion_core.ids import new_id
from orion_core.jobs import Jobs, Retry, job
from orion_core.json_value import Json
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.webhooks import deliveries as life
from orion_plugins.webhooks import patterns, removal, signing, store
from orion_plugins.webhooks.deliveries import Begun, Deliveries
from orion_plugins.webhooks.names import Names
from orion_plugins.webhooks.outcomes import Verdict, judge
from orion_plugins.webhooks.patches import CHANGEABLE
from orion_plugins.webhooks.sender import Sender
from orion_plugins.webhooks.settings import WebhooksSettings
from orion_plugins.webhooks.tables import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
    WebhookSecret,
)
from orion_plugins.webhooks.targets import target

log = logging.getLogger("orion.webhooks")

MANAGE = "webhooks:manage"
OVERLAP = timedelta(hours=24)
"""How long a replaced secret still signs."""
MAX_SECRETS = 5
MAX_PAYLOAD = 256 * 1024
LARGE_PAYLOAD = 20 * 1024
RUNS = 200
"""How often the engine runs one job: never the limit, which is the schedule's."""
_OWN = "webhook"


@attrs.frozen
class WebhooksService(Webhooks):
    """Keeps `Webhooks`: listeners write deliveries, jobs send them."""

    db: Database
    events: Events
    jobs: Jobs
    clock: Clock
    keyring: Keyring
    settings: WebhooksSettings
    _names: Names = attrs.field(init=False, repr=False, factory=Names)
    sender: Sender = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: Sender(self.settings, self._names), True)
    )
    _life: Deliveries = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: Deliveries(self.db, self.events, self.clock, self.keyring), True),
    )
    _random: random.Random = attrs.field(init=False, repr=False, factory=random.Random)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._names.close()

    # Endpoints

    async def create_endpoint(self, data: NewEndpoint) -> EndpointSecret:
        actor = _allowed()
        self._check_url(data.url)
        now = self.clock.now()
        row = WebhookEndpoint(
            id=new_id(),
            url=data.url,
            event_types=_listed(data.event_types),
            description=data.description.strip(),
            created_by=actor.user_id if actor.kind == "user" else None,
            created_at=now,
            updated_at=now,
        )
        secret = signing.new_secret()
        async with self.db.transaction():
            await WebhookEndpoint.insert(row)
            await self._keep(row.id, secret)
        return EndpointSecret(store.as_endpoint(row), secret)

    async def endpoints(self, cursor: str, limit: int) -> EndpointPage:
        _allowed()
        rows, following = await store.page(WebhookEndpoint, [], cursor, limit)
        return EndpointPage(tuple(store.as_endpoint(row) for row in rows), following)

    async def endpoint(self, endpoint_id: UUID) -> Endpoint:
        _allowed()
        return store.as_endpoint(await store.endpoint_row(endpoint_id))

    async def change_endpoint(self, endpoint_id: UUID, change: EndpointChange) -> Endpoint:
        _allowed()
        wanted: dict[Any, Any] = {name: given for name in CHANGEABLE if (given := getattr(change, name)) is not None}
        if change.url is not None:
            self._check_url(change.url)
        if change.event_types is not None:
            wanted["event_types"] = _listed(change.event_types)
        if change.description is not None:
            wanted["description"] = change.description.strip()
        if change.enabled is not None:
            wanted["disabled_reason"] = "" if change.enabled else "disabled by hand"
        async with self.db.transaction():
            row = await store.endpoint_row(endpoint_id)
            if any(getattr(row, name) != given for name, given in wanted.items() if name != "disabled_reason"):
                written = await (
                    WebhookEndpoint.update({**wanted, "updated_at": self.clock.now()})
                    .where(WebhookEndpoint.id == endpoint_id)
                    .returning(*WebhookEndpoint.all_columns())
                )
                if not written:
                    raise store.no_such_endpoint(endpoint_id)
                row = WebhookEndpoint(**written[0])
            if change.enabled is False:
                await self._life.abort(WebhookDelivery.endpoint_id == endpoint_id, "the endpoint was disabled")
        return store.as_endpoint(row)

    async def delete_endpoint(self, endpoint_id: UUID) -> None:
        _allowed()
        async with self.db.transaction():
            await store.locked_endpoint_row(endpoint_id)
            await WebhookEndpoint.delete().where(WebhookEndpoint.id == endpoint_id)
            await WebhookSecret.delete().where(WebhookSecret.endpoint_id == endpoint_id)
            await self._life.abort(WebhookDelivery.endpoint_id == endpoint_id, "the endpoint was removed")

    async def rotate_secret(self, endpoint_id: UUID) -> EndpointSecret:
        _allowed()
        now, secret = self.clock.now(), signing.new_secret()
        until = now + OVERLAP
        async with self.db.transaction():
            row = await store.locked_endpoint_row(endpoint_id)
            own = WebhookSecret.endpoint_id == endpoint_id
            await WebhookSecret.delete().where(
                own & WebhookSecret.expires_at.is_not_null() & (WebhookSecret.expires_at <= now)
            )
            if await WebhookSecret.count().where(own) >= MAX_SECRETS:
                raise TooManySecrets(f"this endpoint has {MAX_SECRETS} secrets in use: wait until the oldest runs out")
            await WebhookSecret.update({WebhookSecret.expires_at: until}).where(
                own & WebhookSecret.expires_at.is_null()
            )
            await self._keep(endpoint_id, secret)
        return EndpointSecret(store.as_endpoint(row), secret, until)

    async def send_test(self, endpoint_id: UUID) -> Delivery:
        _allowed()
        now, message_id = self.clock.now(), new_id()
        data = Json.of({"endpoint_id": str(endpoint_id), "test": True}).text
        message = WebhookMessage(
            id=message_id,
            event_id=f"test:{message_id}",
            type="webhook.test",
            payload=patterns.payload("webhook.test", now, data),
            correlation_id=current().correlation_id,
            created_at=now,
        )
        async with self.db.transaction():
            row = await store.endpoint_row(endpoint_id)
            if not row.enabled:
                raise EndpointIsDisabled("this endpoint is disabled: enable it first")
            [delivery] = await life.write(message, [endpoint_id], test=True)
            await self.jobs.enqueue(self.deliver, delivery.id, 0, priority="high")
        return store.as_delivery(delivery)

    # Deliveries

    async def deliveries(self, endpoint_id: UUID | None, status: str, cursor: str, limit: int) -> DeliveryPage:
        _allowed()
        wanted: list[Combinable] = []
        if endpoint_id is not None:
            wanted.append(WebhookDelivery.endpoint_id == endpoint_id)
        if status:
            if status not in STATUSES:
                raise invalid("status", "unknown", f"must be one of {', '.join(STATUSES)}")
            wanted.append(WebhookDelivery.status == status)
        rows, following = await store.page(WebhookDelivery, wanted, cursor, limit)
        return DeliveryPage(tuple(store.as_delivery(row) for row in rows), following)

    async def delivery(self, delivery_id: UUID) -> DeliveryDetail:
        _allowed()
        row = await store.delivery_row(delivery_id)
        message = await WebhookMessage.objects().where(WebhookMessage.id == row.message_id).first()
        payload = Json.of(json.loads(message.payload)) if message is not None and message.payload else None
        return DeliveryDetail(store.as_delivery(row), payload)

    async def attempts(self, delivery_id: UUID, cursor: str, limit: int) -> AttemptPage:
        _allowed()
        await store.delivery_row(delivery_id)
        return await _attempts(WebhookAttempt.delivery_id == delivery_id, cursor, limit)

    async def endpoint_attempts(self, endpoint_id: UUID, cursor: str, limit: int) -> AttemptPage:
        _allowed()
        await store.endpoint_row(endpoint_id)
        return await _attempts(WebhookAttempt.endpoint_id == endpoint_id, cursor, limit)

    async def retry(self, delivery_id: UUID) -> Delivery:
        _allowed()
        async with self.db.transaction():
            row = await store.delivery_row(delivery_id)
            endpoint = await WebhookEndpoint.objects().where(WebhookEndpoint.id == row.endpoint_id).first()
            if endpoint is None or not endpoint.enabled:
                raise EndpointIsDisabled("the endpoint is disabled or removed: nothing is sent to it")
            message = await WebhookMessage.objects().where(WebhookMessage.id == row.message_id).first()
            if message is None or not message.payload:
                raise PayloadRemoved("the payload is not kept: it cannot be sent again")
            await self.jobs.enqueue(self.resend, delivery_id, priority="high")
        return store.as_delivery(row)

    # What happens by itself

    @on_all()
    async def fan_out(self, envelope: Envelope) -> None:
        """One message and a delivery for each endpoint that asked; nothing at all if none did."""
        if envelope.family == _OWN:
            # An endpoint that was told of its own deliveries would never come to rest.
            return
        if not envelope.data:
            # Blanked while it was under way: it was about somebody who has been erased since.
            return
        rows = await WebhookEndpoint.select(WebhookEndpoint.id, WebhookEndpoint.event_types).where(
            WebhookEndpoint.enabled.eq(True)
        )
        wanted = [row["id"] for row in rows if patterns.matches(json.loads(row["event_types"]), envelope.name)]
        if not wanted:
            return
        payload = patterns.payload(envelope.name, envelope.time, envelope.data)
        size = len(payload.encode())
        if size > LARGE_PAYLOAD:
            log.warning("%s %s makes a payload of %d bytes", envelope.type, envelope.id, size)
        message = WebhookMessage(
            id=new_id(),
            event_id=str(envelope.id),
            type=envelope.name,
            payload=payload if size <= MAX_PAYLOAD else "",
            correlation_id=envelope.correlation_id,
            created_at=self.clock.now(),
        )
        for delivery in await life.write(message, wanted):
            if message.payload:
                await self.jobs.enqueue(self.deliver, delivery.id, 0)
            else:
                reason = f"the payload has more than {MAX_PAYLOAD} bytes"
                await self._life.give_up(delivery, reason)

    @on(UserErased)
    async def forget(self, event: UserErased) -> None:
        """Forget the person: at once, and again for what other services tell of their own forgetting, and for news that
        was under way."""
        for delay in (timedelta(0), timedelta(seconds=5), timedelta(days=1)):
            # Ahead of deliveries, which may be many and slow.
            await self.jobs.enqueue(self.forget_person, event.user_id, priority="high", delay=delay)

    @job(retries=RUNS, timeout=60)
    async def deliver(self, delivery_id: UUID, turn: int) -> None:
        """The next scheduled attempt of a delivery."""
        begun = await self._life.begin(delivery_id, turn)
        if begun is None:
            return
        verdict, waits = await self._attempt(begun)
        if waits:
            raise Retry("the receiver did not take it", after=verdict.after)

    @job(retries=5, timeout=60)
    async def resend(self, delivery_id: UUID) -> None:
        """An attempt that somebody asked for."""
        begun = await self._life.begin(delivery_id, None)
        if begun is not None:
            await self._attempt(begun, manual=True)

    @job(retries=20)
    async def forget_person(self, user_id: UUID) -> None:
        """Remove the payloads that name a person, and abort what is pending with them."""
        await removal.forget(self.db, self._life, user_id)

    @job(every=timedelta(hours=1))
    async def purge(self) -> None:
        """Remove what is older than the retention, in batches, so that nobody waits for it."""
        now = self.clock.now()
        await removal.purge(self.db, now - timedelta(days=self.settings.retention_days), now)

    async def _attempt(self, begun: Begun, *, manual: bool = False) -> tuple[Verdict, bool]:
        """Send, and record what came of it; a manual attempt makes the next scheduled one its own."""
        now = self.clock.now()
        outcome = await self.sender.send(begun.url, begun.headers(now), begun.body)
        async with self.db.transaction():
            row = await store.delivery_row(begun.delivery_id)
            verdict = judge(outcome, row.step, self.settings.retry_delays, self.clock.now(), self._random.uniform)
            waits = await self._life.end(begun, outcome, verdict)
            if waits and manual and verdict.after is not None:
                delay = timedelta(seconds=verdict.after)
                await self.jobs.enqueue(self.deliver, begun.delivery_id, begun.turn, delay=delay)
        return verdict, waits

    async def _keep(self, endpoint_id: UUID, secret: str) -> None:
        row_id = new_id()
        await WebhookSecret.insert(
            WebhookSecret(
                id=row_id,
                endpoint_id=endpoint_id,
                sealed=store.sealed(self.keyring, row_id, secret),
                created_at=self.clock.now(),
            )
        )

    def _check_url(self, url: str) -> None:
        target(url, self.settings.allowed_ports, self.settings.allowed)


def _allowed() -> Any:
    actor = current().actor
    actor.require(MANAGE)
    return actor


def _listed(event_types: tuple[str, ...]) -> str:
    return json.dumps(list(dict.fromkeys(event_types)))


async def _attempts(wanted: Combinable, cursor: str, limit: int) -> AttemptPage:
    rows, following = await store.page(WebhookAttempt, [wanted], cursor, limit)
    return AttemptPage(tuple(store.as_attempt(row) for row in rows), following)
