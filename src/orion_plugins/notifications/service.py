"""Notices to people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import attrs
from piccolo.columns.combination import And
from piccolo.custom_types import Combinable

from orion_core.context import current
from orion_core.contracts.auth import RefreshReuseDetected, UserRegistered
from orion_core.contracts.notifications import MailOrder, Notice, NoticePage, Notifications, NotificationSent
from orion_core.contracts.users import UserErased
from orion_core.errors import Forbidden
from orion_core.events import Events, on
from orion_core.ids import new_id
from orion_core.jobs import Jobs, job
from orion_core.keyring import Keyring
from orion_core.paging import check_limit, from_cursor, to_cursor
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.ports.mail import Mail, MailRefused, MailUnavailable
from orion_core.sealing import Unsealable
from orion_plugins.notifications.erasing import erase, is_erased
from orion_plugins.notifications.mails import build, message_id
from orion_plugins.notifications.orders import NOBODY, delivery_of, variables_of
from orion_plugins.notifications.rendering import render
from orion_plugins.notifications.settings import NotificationsSettings
from orion_plugins.notifications.tables import Notification, NotificationDelivery, NotificationHistory

RETRIES = 8
_BATCH = 1000
_OVER = ("sent", "failed")
_UNKNOWN = "an unknown address"


@attrs.frozen
class NotificationsService(Notifications):
    """Keeps `Notifications`: listeners write rows, jobs send."""

    db: Database
    events: Events
    jobs: Jobs
    clock: Clock
    mail: Mail
    keyring: Keyring
    settings: NotificationsSettings

    async def mine(self, cursor: str, limit: int) -> NoticePage:
        user_id = current().actor.user_id
        check_limit(limit)
        wanted: Combinable = Notification.user_id == user_id
        if cursor:
            wanted = And(wanted, Notification.id < from_cursor(cursor))
        # Ids are UUIDv7: their order is that of time. One row more tells whether there is another page.
        rows = await Notification.objects().where(wanted).order_by(Notification.id, ascending=False).limit(limit + 1)
        more = len(rows) > limit
        return NoticePage(
            items=tuple(_notice(row) for row in rows[:limit]),
            next_cursor=to_cursor(rows[limit - 1].id) if more else None,
        )

    async def order_mail(self, order: MailOrder) -> None:
        if not current().actor.trusted:
            raise Forbidden("only services may order mail")
        delivery = delivery_of(order, self.keyring, self.clock.now())
        async with self.db.transaction():
            if order.user_id is None or not await is_erased(order.user_id):
                await self._queue(delivery)

    @on(UserRegistered)
    async def welcome(self, event: UserRegistered) -> None:
        """One notice and one mail, whatever number of times the news arrives (N1)."""
        greeting = f"Hello {event.name}" if event.name else "Hello"
        await self._announce(
            event.user_id,
            event.email,
            type_="user.welcome",
            title=f"Welcome to {self.settings.product}",
            body=f"{greeting}, your account is ready.",
            template="welcome",
            variables={"greeting": greeting, "email": event.email},
        )

    @on(RefreshReuseDetected)
    async def warn_of_reuse(self, event: RefreshReuseDetected) -> None:
        """Tell somebody that a session of theirs may have been stolen, in the application and by mail."""
        await self._announce(
            event.user_id,
            event.email,
            type_="auth.refresh_reuse",
            title="One of your sessions was ended",
            body="Somebody used a copy of a sign-in to your account. Change your password if that was not you.",
            template="refresh_reuse",
            variables={
                "detected_at": f"{event.detected_at:%Y-%m-%d %H:%M} UTC",
                "ip_address": event.ip_address or _UNKNOWN,
                "session_ip_address": event.session_ip_address or _UNKNOWN,
            },
        )

    @on(UserErased)
    async def erase_person(self, event: UserErased) -> None:
        """Forget a person for good; mail that has left is out of reach."""
        await erase(event.user_id, self.clock.now())

    @job(retries=RETRIES)
    async def send_mail(self, delivery_id: UUID) -> None:
        """Send one delivery, unless that has been done or refused for good (N4).

        While the provider is away it raises `MailUnavailable` and so is tried again, `RETRIES` times.
        """
        delivery = await self._begin(delivery_id)
        if delivery is None:
            return
        try:
            await self.mail.send(self._message(delivery))
        except MailUnavailable as error:
            await self._end(delivery, "deferred" if delivery.attempts <= RETRIES else "dead", error)
            # Not as it came: what servers answer names the person, and the job's row and the log would keep it.
            raise MailUnavailable("the mail could not be sent yet: see the delivery's last error") from None
        except (MailRefused, ValueError, Unsealable) as error:
            # ValueError: a template that cannot be filled in, or an address that is none. None of it gets better.
            await self._end(delivery, "failed", error)
        else:
            await self._end(delivery, "sent")

    @job(every=timedelta(hours=1))
    async def purge(self) -> None:
        """Remove what is older than the retention, in batches, so that nobody waits for it."""
        before = self.clock.now() - timedelta(days=self.settings.retention_days)
        for table, key, time in (
            (NotificationHistory, NotificationHistory.id, NotificationHistory.at),
            (NotificationDelivery, NotificationDelivery.id, NotificationDelivery.created_at),
            (Notification, Notification.id, Notification.created_at),
        ):
            removed = _BATCH
            while removed == _BATCH:
                async with self.db.transaction():
                    old = await table.select(key).where(time < before).limit(_BATCH)
                    removed = len(old)
                    if old:
                        await table.delete().where(key.is_in([row["id"] for row in old]))

    async def _announce(
        self,
        user_id: UUID,
        address: str,
        *,
        type_: str,
        title: str,
        body: str,
        template: str,
        variables: Mapping[str, str],
    ) -> None:
        """Write a notice about the event at hand and the mail that goes with it; nothing if that was done before."""
        if await is_erased(user_id):
            return
        now, context = self.clock.now(), current()
        notice = Notification(
            id=new_id(),
            event_id=context.causation_id,
            user_id=user_id,
            type=type_,
            status="sent",
            title=title,
            body=body,
            correlation_id=context.correlation_id,
            created_at=now,
            sent_at=now,
        )
        if not await _new(notice, Notification.event_id, Notification.type, Notification.user_id):
            return
        delivery = NotificationDelivery(
            id=new_id(),
            event_id=notice.event_id,
            notification_id=notice.id,
            user_id=user_id,
            type=notice.type,
            channel="email",
            address=address,
            template=template,
            template_version=1,
            variables=json.dumps(dict(variables), ensure_ascii=False),
            status="queued",
            correlation_id=context.correlation_id,
            created_at=now,
        )
        await self._queue(delivery)

    async def _begin(self, delivery_id: UUID) -> NotificationDelivery | None:
        async with self.db.transaction():
            delivery = await NotificationDelivery.objects().where(NotificationDelivery.id == delivery_id).first()
            if delivery is None or delivery.status in _OVER:
                return None
            delivery.attempts += 1
            delivery.message_id = message_id(delivery.id, self.settings.sender)
            await self._change(delivery, "sending", attempts=delivery.attempts, message_id=delivery.message_id)
        return delivery

    async def _end(self, delivery: NotificationDelivery, status: str, error: Exception | None = None) -> None:
        detail = "" if error is None else str(error)[:500]
        async with self.db.transaction():
            # Who gives a dead delivery another try needs its secrets no more: they have expired by then.
            over = {} if status == "deferred" else {"secrets": ""}
            if status != "sent":
                await self._change(delivery, status, detail=detail, last_error=detail, **over)
            elif (
                await self._change(delivery, status, sent_at=self.clock.now(), last_error="", **over)
                and delivery.user_id != NOBODY
            ):
                await self.events.publish(
                    NotificationSent(
                        notification_id=delivery.notification_id,
                        user_id=delivery.user_id,
                        type=delivery.type,
                        channel=delivery.channel,
                    )
                )

    async def _change(self, delivery: NotificationDelivery, status: str, *, detail: str = "", **columns: Any) -> bool:
        """Give `delivery` a new status and record it; False when another attempt had finished it meanwhile."""
        written = await (
            NotificationDelivery.update({NotificationDelivery.status: status}, **columns)
            .where((NotificationDelivery.id == delivery.id) & NotificationDelivery.status.not_in(list(_OVER)))
            .returning(NotificationDelivery.id)
        )
        if written:
            await _record(delivery, status, self.clock.now(), detail)
        return bool(written)

    async def _queue(self, delivery: NotificationDelivery) -> None:
        added = await (
            NotificationDelivery.insert(delivery)
            .on_conflict(target=NotificationDelivery.id, action="DO NOTHING")
            .returning(NotificationDelivery.id)
        )
        if added:
            await _record(delivery, "queued", delivery.created_at)
            await self.jobs.enqueue(self.send_mail, delivery.id, priority="high")

    def _message(self, delivery: NotificationDelivery) -> EmailMessage:
        variables = {**variables_of(delivery, self.keyring), "product": self.settings.product}
        return build(
            render(delivery.template, delivery.template_version, variables),
            sender=self.settings.sender,
            to=delivery.address,
            identifier=delivery.message_id,
            at=self.clock.now(),
            correlation_id=delivery.correlation_id,
        )


async def _new(row: Notification, *unique: Any) -> bool:
    """Insert `row`; False when there is one with the same `unique` columns."""
    return bool(
        await Notification.insert(row).on_conflict(target=unique, action="DO NOTHING").returning(Notification.id)
    )


async def _record(delivery: NotificationDelivery, status: str, at: datetime, detail: str = "") -> None:
    await NotificationHistory.insert(
        NotificationHistory(
            id=new_id(),
            delivery_id=delivery.id,
            notification_id=delivery.notification_id,
            user_id=delivery.user_id,
            channel=delivery.channel,
            status=status,
            attempt=delivery.attempts,
            message_id=delivery.message_id,
            detail=detail,
            correlation_id=delivery.correlation_id,
            at=at,
        )
    )


def _notice(row: Notification) -> Notice:
    return Notice(
        id=row.id, type=row.type, title=row.title, body=row.body, created_at=row.created_at, read_at=row.read_at
    )
