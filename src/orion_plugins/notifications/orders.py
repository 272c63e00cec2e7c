"""Mails that other services order: one delivery each, however often it is asked for."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID, uuid5

from orion_core.context import current
from orion_core.contracts.notifications import MailOrder
from orion_core.keyring import Keyring
from orion_core.sealing import Where, open_, seal
from orion_core.values import invalid
from orion_plugins.notifications.rendering import exists
from orion_plugins.notifications.tables import NotificationDelivery

NOBODY = UUID(int=0)
"""The `user_id` of a delivery about nobody's account."""
_ORDERS = UUID("6f1e2a0e-5d0f-4c0b-9a55-5a4f1d1c7a10")
_VERSION = 1


def delivery_of(order: MailOrder, keyring: Keyring, now: datetime) -> NotificationDelivery:
    """The row of `order`, under the same id each time its service gives the same key; raises `Invalid`."""
    if not exists(order.template, _VERSION):
        raise invalid("template", "unknown", "must be the name of a template that exists")
    context = current()
    identifier = uuid5(_ORDERS, f"{context.actor.id}|{order.key}")
    return NotificationDelivery(
        id=identifier,
        # In place of the event that leads to other deliveries: what makes this one unique.
        event_id=str(identifier),
        notification_id=identifier,
        user_id=order.user_id or NOBODY,
        type=f"mail.{order.template}",
        channel="email",
        address=order.recipient,
        template=order.template,
        template_version=_VERSION,
        variables=json.dumps({each.name: each.text for each in order.variables}, ensure_ascii=False),
        secrets=_sealed(order, keyring, identifier),
        status="queued",
        correlation_id=context.correlation_id,
        created_at=now,
    )


def variables_of(delivery: NotificationDelivery, keyring: Keyring) -> dict[str, str]:
    """What stands for the words of the template; raises `Unsealable`."""
    found: dict[str, str] = json.loads(delivery.variables)
    if delivery.secrets:
        found |= json.loads(open_(keyring, _place(delivery.id), delivery.secrets))
    return found


def _sealed(order: MailOrder, keyring: Keyring, identifier: UUID) -> str:
    if not order.secrets:
        return ""
    plain = json.dumps({each.name: each.text for each in order.secrets}, ensure_ascii=False)
    return seal(keyring, _place(identifier), plain.encode())


def _place(identifier: UUID) -> Where:
    return Where("notification_deliveries", str(identifier), "secrets")
