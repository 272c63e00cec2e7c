"""Outbound webhooks: addresses outside that are told what happens, signed as Standard Webhooks 1.0.0."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.errors import Conflict, NotFound
from orion_core.events import event
from orion_core.json_value import Json
from orion_core.validators import is_plain, length, max_len
from orion_core.values import invalid, value

STATUSES = ("pending", "succeeded", "dead", "aborted")
"""What a delivery can be: to be tried (again), answered 2xx, given up, or stopped before its time."""

_PATTERN = re.compile(r"\*|[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*(?:\.\*)?")


@attrs.frozen
class _EventTypes:
    """What a list of event types may hold."""

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"minItems": 1, "maxItems": 50}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], given: tuple[str, ...] | None) -> None:
        if given is None:
            return
        if not 1 <= len(given) <= 50:
            raise invalid(attribute.name, "length", "must have 1 to 50 event types")
        for pattern in given:
            if len(pattern) > 100 or not _PATTERN.fullmatch(pattern):
                raise invalid(attribute.name, "pattern", "must be types like user.registered, user.* or *")


@value
class NewEndpoint:
    """Where to send what. An event type is exact, ends in ``.*`` for all that begin alike, or is ``*`` for all."""

    url: str = attrs.field(validator=length(1, 2048))
    event_types: tuple[str, ...] = attrs.field(default=("*",), validator=_EventTypes())
    description: str = attrs.field(default="", validator=[max_len(500), is_plain])


@value
class EndpointChange:
    """What to change of an endpoint: None leaves a field as it is."""

    url: str | None = attrs.field(default=None, validator=length(1, 2048))
    event_types: tuple[str, ...] | None = attrs.field(default=None, validator=_EventTypes())
    description: str | None = attrs.field(default=None, validator=[max_len(500), is_plain])
    enabled: bool | None = None


@value
class Endpoint:
    """One address and what it wants to be told. `disabled_reason` is empty while it is enabled."""

    id: UUID
    url: str
    event_types: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


@value
class EndpointSecret:
    """An endpoint with its new secret, which is never shown again.

    After a rotation the secret before signs as well until `previous_until`.
    """

    endpoint: Endpoint
    secret: str = attrs.field(repr=False)
    previous_until: datetime | None = None


@value
class EndpointPage:
    """Endpoints, newest first; `next_cursor` is None on the last page."""

    items: tuple[Endpoint, ...]
    next_cursor: str | None


@value
class Delivery:
    """One message for one endpoint. `message_id` is its `webhook-id`, the same in every attempt.

    `status` is one of `STATUSES`, `detail` says why it is not (yet) a success, `last_status` is the last HTTP status.
    """

    id: UUID
    endpoint_id: UUID
    message_id: str
    type: str
    status: str
    detail: str
    test: bool
    attempts: int
    last_status: int | None
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


@value
class DeliveryDetail:
    """A delivery with the payload that is sent; None once that was removed."""

    delivery: Delivery
    payload: Json | None


@value
class DeliveryPage:
    """Deliveries, newest first; `next_cursor` is None on the last page."""

    items: tuple[Delivery, ...]
    next_cursor: str | None


@value
class Attempt:
    """One try. `outcome` is started, succeeded, failed or refused; `excerpt` is the beginning of the answer's body."""

    id: UUID
    delivery_id: UUID
    endpoint_id: UUID
    number: int
    manual: bool
    outcome: str
    status_code: int | None
    latency_ms: int | None
    address: str
    excerpt: str
    error: str
    at: datetime


@value
class AttemptPage:
    """Attempts, newest first; `next_cursor` is None on the last page."""

    items: tuple[Attempt, ...]
    next_cursor: str | None


class NoSuchEndpoint(NotFound):
    """There is no endpoint with this id."""

    code = "webhooks.no_such_endpoint"


class NoSuchDelivery(NotFound):
    """There is no delivery with this id."""

    code = "webhooks.no_such_delivery"


class EndpointIsDisabled(Conflict):
    """Nothing is sent to a disabled endpoint: enable it first."""

    code = "webhooks.endpoint_is_disabled"


class PayloadRemoved(Conflict):
    """The payload is not kept, because it was too large or its person was erased: it cannot be sent again."""

    code = "webhooks.payload_removed"


class TooManySecrets(Conflict):
    """As many secrets as an endpoint may have are in use: rotate again once an older one has run out."""

    code = "webhooks.too_many_secrets"


@event("webhook.delivered", version=1, subject="delivery_id")
class WebhookDelivered:
    """An endpoint answered 2xx, in this attempt."""

    delivery_id: UUID
    endpoint_id: UUID
    type: str
    attempts: int


@event("webhook.exhausted", version=1, subject="delivery_id")
class WebhookExhausted:
    """A delivery was given up: its schedule is used up, or its target is refused."""

    delivery_id: UUID
    endpoint_id: UUID
    type: str
    attempts: int
    reason: str


@event("webhook.endpoint_disabled", version=1, subject="endpoint_id")
class WebhookEndpointDisabled:
    """Nothing more is sent to an endpoint, because its receiver said so."""

    endpoint_id: UUID
    created_by: UUID | None
    reason: str


class Webhooks(Contract, name="webhooks"):
    """Outbound webhooks. Every operation needs `webhooks:manage`.

    Promised: each event that matches an enabled endpoint is sent at least once, with the same `webhook-id` on every
    repeat; the order is best effort.
    """

    @abc.abstractmethod
    async def create_endpoint(self, data: NewEndpoint) -> EndpointSecret:
        """Add an endpoint; raises `Invalid` for a URL that may not be called."""

    @repeatable
    @abc.abstractmethod
    async def endpoints(self, cursor: str, limit: int) -> EndpointPage:
        """All endpoints: `limit` (1 to 200) of them after `cursor`, which is empty at first."""

    @raises(NoSuchEndpoint)
    @repeatable
    @abc.abstractmethod
    async def endpoint(self, endpoint_id: UUID) -> Endpoint:
        """One endpoint."""

    @raises(NoSuchEndpoint)
    @repeatable
    @abc.abstractmethod
    async def change_endpoint(self, endpoint_id: UUID, change: EndpointChange) -> Endpoint:
        """Change an endpoint; to disable it aborts what is pending for it."""

    @raises(NoSuchEndpoint)
    @abc.abstractmethod
    async def delete_endpoint(self, endpoint_id: UUID) -> None:
        """Remove an endpoint and its secrets, and abort what is pending; its log stays until it is purged."""

    @raises(NoSuchEndpoint, TooManySecrets)
    @abc.abstractmethod
    async def rotate_secret(self, endpoint_id: UUID) -> EndpointSecret:
        """Give an endpoint a new secret; those before sign as well for 24 hours."""

    @raises(NoSuchEndpoint, EndpointIsDisabled)
    @abc.abstractmethod
    async def send_test(self, endpoint_id: UUID) -> Delivery:
        """Send an event of the type ``webhook.test`` to one endpoint, whatever types it asks for."""

    @repeatable
    @abc.abstractmethod
    async def deliveries(self, endpoint_id: UUID | None, status: str, cursor: str, limit: int) -> DeliveryPage:
        """Deliveries, of one endpoint and with one status if given; pages as in `endpoints`."""

    @raises(NoSuchDelivery)
    @repeatable
    @abc.abstractmethod
    async def delivery(self, delivery_id: UUID) -> DeliveryDetail:
        """One delivery with its payload."""

    @raises(NoSuchDelivery)
    @repeatable
    @abc.abstractmethod
    async def attempts(self, delivery_id: UUID, cursor: str, limit: int) -> AttemptPage:
        """The attempts of one delivery; pages as in `endpoints`."""

    @raises(NoSuchEndpoint)
    @repeatable
    @abc.abstractmethod
    async def endpoint_attempts(self, endpoint_id: UUID, cursor: str, limit: int) -> AttemptPage:
        """The attempts for one endpoint; pages as in `endpoints`."""

    @raises(NoSuchDelivery, EndpointIsDisabled, PayloadRemoved)
    @abc.abstractmethod
    async def retry(self, delivery_id: UUID) -> Delivery:
        """Send a delivery once more, whatever its status; it takes the place of the next scheduled attempt."""
