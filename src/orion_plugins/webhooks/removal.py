"""What is removed: what names an erased person, and what is older than the retention."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from orion_core.ports.database import Database
from orion_plugins.webhooks.deliveries import Deliveries
from orion_plugins.webhooks.tables import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
    WebhookSecret,
)

BATCH = 500
ERASURE = "user.erased"
"""Tells receivers to forget as well: it holds nothing but the id, and is kept until it has been sent."""


async def forget(db: Database, life: Deliveries, user_id: UUID) -> None:
    """Blank every payload in which the person's id occurs, and what receivers answered to it."""
    named = WebhookMessage.payload.like(f"%{user_id}%") & (WebhookMessage.type != ERASURE)
    found = BATCH
    while found == BATCH:
        async with db.transaction():
            rows = await WebhookMessage.select(WebhookMessage.id).where(named).limit(BATCH)
            found = len(rows)
            if not rows:
                break
            messages = [row["id"] for row in rows]
            about = WebhookDelivery.message_id.is_in(messages)
            await WebhookMessage.update({WebhookMessage.payload: "", WebhookMessage.correlation_id: ""}).where(
                WebhookMessage.id.is_in(messages)
            )
            await life.abort(about, "the person it was about was erased")
            deliveries = [row["id"] for row in await WebhookDelivery.select(WebhookDelivery.id).where(about)]
            for start in range(0, len(deliveries), BATCH):
                some = deliveries[start : start + BATCH]
                await WebhookAttempt.update({WebhookAttempt.excerpt: ""}).where(WebhookAttempt.delivery_id.is_in(some))
    async with db.transaction():
        await WebhookEndpoint.update({WebhookEndpoint.created_by: None}).where(WebhookEndpoint.created_by == user_id)


async def purge(db: Database, before: datetime, now: datetime) -> None:
    """Remove attempts, finished deliveries and their messages from before `before`, in batches; and secrets that have
    run out."""
    async with db.transaction():
        await WebhookSecret.delete().where(WebhookSecret.expires_at.is_not_null() & (WebhookSecret.expires_at <= now))
    over = WebhookDelivery.status != "pending"
    for table, key, condition in (
        (WebhookAttempt, WebhookAttempt.id, WebhookAttempt.at < before),
        (WebhookDelivery, WebhookDelivery.id, (WebhookDelivery.created_at < before) & over),
        (WebhookMessage, WebhookMessage.id, WebhookMessage.created_at < before),
    ):
        await _purge(db, table, key, condition)


async def _purge(db: Database, table: Any, key: Any, condition: Any) -> None:
    after: UUID | None = None
    while True:
        async with db.transaction():
            wanted = condition if after is None else condition & (key > after)
            old = [row["id"] for row in await table.select(key).where(wanted).order_by(key).limit(BATCH)]
            if not old:
                return
            after = old[-1]
            if table is WebhookMessage:
                needed = await WebhookDelivery.select(WebhookDelivery.message_id).where(
                    WebhookDelivery.message_id.is_in(old)
                )
                old = list(set(old) - {row["message_id"] for row in needed})
            if old:
                await table.delete().where(key.is_in(old))
