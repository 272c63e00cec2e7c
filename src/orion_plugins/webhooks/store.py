"""Rows of webhooks as values of the contract, and pages of them."""

from __future__ import annotations

import json
from typing import Any, TypeVar
from uuid import UUID

from piccolo.columns.combination import And
from piccolo.custom_types import Combinable
from piccolo.table import Table

from orion_core.contracts.webhooks import (
    Attempt,
    Delivery,
    Endpoint,
    NoSuchDelivery,
    NoSuchEndpoint,
)
from orion_core.keyring import Keyring
from orion_core.paging import check_limit, from_cursor, to_cursor
from orion_core.sealing import Where, open_, seal
from orion_plugins.webhooks.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookSecret

T = TypeVar("T", bound=Table)
_SECRETS = "webhook_secrets"


async def endpoint_row(endpoint_id: UUID) -> WebhookEndpoint:
    """The row of one endpoint; raises `NoSuchEndpoint`."""
    row = await WebhookEndpoint.objects().where(WebhookEndpoint.id == endpoint_id).first()
    if row is None:
        raise no_such_endpoint(endpoint_id)
    return row


async def locked_endpoint_row(endpoint_id: UUID) -> WebhookEndpoint:
    """The row of one endpoint, which nobody else writes until the open transaction ends; raises `NoSuchEndpoint`."""
    rows = await (
        WebhookEndpoint.update({WebhookEndpoint.url: WebhookEndpoint.url})
        .where(WebhookEndpoint.id == endpoint_id)
        .returning(*WebhookEndpoint.all_columns())
    )
    if not rows:
        raise no_such_endpoint(endpoint_id)
    return WebhookEndpoint(**rows[0])


def no_such_endpoint(endpoint_id: UUID) -> NoSuchEndpoint:
    """Says which one."""
    return NoSuchEndpoint(f"there is no endpoint with the id {endpoint_id}")


async def delivery_row(delivery_id: UUID) -> WebhookDelivery:
    """The row of one delivery; raises `NoSuchDelivery`."""
    row = await WebhookDelivery.objects().where(WebhookDelivery.id == delivery_id).first()
    if row is None:
        raise NoSuchDelivery(f"there is no delivery with the id {delivery_id}")
    return row


async def page(table: type[T], wanted: list[Combinable], cursor: str, limit: int) -> tuple[list[T], str | None]:
    """Rows of `table`, newest first, and the cursor of the page after; raises `Malformed` and `Invalid`."""
    check_limit(limit)
    key: Any = table.id  # type: ignore[attr-defined]  # every table here has it
    query = table.objects()
    if cursor:
        wanted = [*wanted, key < from_cursor(cursor)]
    if wanted:
        condition = wanted[0]
        for other in wanted[1:]:
            condition = And(condition, other)
        query = query.where(condition)
    # Ids are UUIDv7: their order is that of time. One row more tells whether there is another page.
    rows: list[Any] = await query.order_by(key, ascending=False).limit(limit + 1)
    more = len(rows) > limit
    return rows[:limit], to_cursor(rows[limit - 1].id) if more else None


def sealed(keyring: Keyring, row_id: UUID, secret: str) -> str:
    """`secret` as the row `row_id` keeps it."""
    return seal(keyring, Where(_SECRETS, str(row_id), "sealed"), secret.encode())


def unsealed(keyring: Keyring, row: WebhookSecret) -> str:
    """The secret in `row`; raises `Unsealable`."""
    return open_(keyring, Where(_SECRETS, str(row.id), "sealed"), row.sealed).decode()


def message_id(row_id: UUID) -> str:
    """The `webhook-id` of the message `row_id`."""
    return f"msg_{row_id.hex}"


def as_endpoint(row: WebhookEndpoint) -> Endpoint:
    """`row` as the contract shows it."""
    return Endpoint(
        id=row.id,
        url=row.url,
        event_types=tuple(json.loads(row.event_types)),
        description=row.description,
        enabled=bool(row.enabled),
        disabled_reason=row.disabled_reason,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def as_delivery(row: WebhookDelivery) -> Delivery:
    """`row` as the contract shows it."""
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        message_id=message_id(row.message_id),
        type=row.type,
        status=row.status,
        detail=row.detail,
        test=bool(row.test),
        attempts=row.attempts,
        last_status=row.last_status,
        next_attempt_at=row.next_attempt_at,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def as_attempt(row: WebhookAttempt) -> Attempt:
    """`row` as the contract shows it."""
    return Attempt(
        id=row.id,
        delivery_id=row.delivery_id,
        endpoint_id=row.endpoint_id,
        number=row.number,
        manual=bool(row.manual),
        outcome=row.outcome,
        status_code=row.status_code,
        latency_ms=row.latency_ms,
        address=row.address,
        excerpt=row.excerpt,
        error=row.error,
        at=row.at,
    )
