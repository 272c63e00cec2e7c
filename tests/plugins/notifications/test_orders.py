"""Mails that other services order."""

from __future__ import annotations

import asyncio
import json

import attrs
import pytest
from test_notifications_service import history, notifications, outbound, rows

from orion_core.context import ANONYMOUS, Actor, Context, acting, use
from orion_core.contracts.notifications import MailOrder, NotificationSent, Variable
from orion_core.contracts.users import UserErased
from orion_core.errors import Forbidden, Invalid
from orion_core.ids import new_id
from orion_core.ports.mail import MailRefused, MailUnavailable
from orion_core.testing.engines import told
from orion_plugins.notifications.service import RETRIES, NotificationsService
from orion_plugins.notifications.tables import NotificationDelivery

AUTH = Actor("service", "auth")
SECRET = "https://shop.example/reset?token=omt_planted"
ORDER = MailOrder(
    key="flow-1",
    template="password_reset",
    recipient="ada@x.org",
    user_id=new_id(),
    variables=(Variable("email", "ada@x.org"), Variable("lifetime", "30 minutes")),
    secrets=(Variable("link", SECRET),),
)


async def order(service: NotificationsService, wanted: MailOrder = ORDER, who: Actor = AUTH) -> None:
    with use(Context(actor=who, correlation_id="req-1")):
        await service.order_mail(wanted)


async def one() -> NotificationDelivery:
    [row] = await NotificationDelivery.objects()
    return row


async def test_an_ordered_mail_is_sent_in_the_words_of_its_template(database_url: str) -> None:
    """N5, N10."""
    async with notifications(database_url) as service:
        await order(service)
        await service.send_mail((await one()).id)

        [mail] = outbound(service).tried
        text, html = (part.get_content() for part in mail.iter_parts())
        assert (mail["To"], mail["Subject"]) == ("ada@x.org", "Choose a new password for Shop")
        assert mail["X-Correlation-ID"] == "req-1"
        assert SECRET in text
        assert f'href="{SECRET}"' in html
        assert "30 minutes" in text
        assert await history() == [("queued", 0), ("sending", 1), ("sent", 1)]
        [event] = await told({"notifications": service.db}, NotificationSent)
        assert (event.user_id, event.type, event.channel) == (ORDER.user_id, "mail.password_reset", "email")


async def test_one_key_of_one_service_leads_to_one_mail(database_url: str) -> None:
    """N1: also when it is ordered at once, and again after it has left."""
    async with notifications(database_url) as service:
        await asyncio.gather(*(order(service) for _ in range(5)))
        await service.send_mail((await one()).id)
        await order(service)
        assert len(await rows(service, "orion_jobs")) == 1
        assert (await one()).status == "sent"

        await order(service, who=Actor("service", "billing"))
        await order(service, attrs.evolve(ORDER, key="flow-2"))
        assert await NotificationDelivery.count() == 3


@pytest.mark.parametrize("end", ["sent", "failed", "dead"])
async def test_secrets_are_stored_sealed_and_only_until_the_delivery_is_over(end: str, database_url: str) -> None:
    """A60."""
    answers: dict[str, list[Exception]] = {
        "sent": [],
        "failed": [MailRefused("no such mailbox")],
        "dead": [MailUnavailable("away") for _ in range(RETRIES + 1)],
    }
    async with notifications(database_url, *answers[end]) as service:
        await order(service)
        row = await one()
        assert row.secrets
        assert "omt_planted" not in repr(
            [await rows(service, "notification_deliveries"), await rows(service, "orion_jobs")]
        )
        for attempt in range(RETRIES + 1):
            try:
                await service.send_mail(row.id)
            except MailUnavailable:
                assert bool((await one()).secrets) is (attempt < RETRIES)
            else:
                break

        row = await one()
        assert (row.status, row.secrets) == (end, "")
        tables = ("notification_deliveries", "notification_history", "orion_outbox", "orion_jobs")
        assert "omt_planted" not in json.dumps([await rows(service, table) for table in tables], default=str)


async def test_a_secret_of_another_delivery_does_not_open(database_url: str) -> None:
    """A60: a sealed text is bound to its row."""
    async with notifications(database_url) as service:
        await order(service)
        await order(service, attrs.evolve(ORDER, key="flow-2", secrets=(Variable("link", "https://other.example"),)))
        first, second = await NotificationDelivery.objects().order_by(NotificationDelivery.created_at)
        await NotificationDelivery.update({NotificationDelivery.secrets: second.secrets}).where(
            NotificationDelivery.id == first.id
        )
        await service.send_mail(first.id)

        assert outbound(service).tried == []
        found = await NotificationDelivery.objects().get(NotificationDelivery.id == first.id)
        assert found is not None
        assert (found.status, found.secrets) == ("failed", "")


@pytest.mark.parametrize("who", [ANONYMOUS, Actor("user", str(new_id()), permissions=("*",))])
async def test_people_order_no_mail(who: Actor, database_url: str) -> None:
    """A53."""
    async with notifications(database_url) as service:
        with pytest.raises(Forbidden):
            await order(service, who=who)
        assert await NotificationDelivery.count() == 0


async def test_a_template_that_does_not_exist_is_refused_at_once(database_url: str) -> None:
    """N6."""
    async with notifications(database_url) as service:
        with pytest.raises(Invalid, match="template: must be"):
            await order(service, attrs.evolve(ORDER, template="made_up"))


@pytest.mark.parametrize("name", ["../welcome", "welcome.v1", "", "Welcome"])
async def test_a_template_is_a_name_and_no_path(name: str) -> None:
    """N6a."""
    with pytest.raises(Invalid, match="template: must be the name"):
        attrs.evolve(ORDER, template=name)


async def test_a_mail_about_nobodys_account_is_sent_and_told_to_nobody(database_url: str) -> None:
    """A8: a registration that waits for its address is no person yet."""
    async with notifications(database_url) as service:
        await order(service, attrs.evolve(ORDER, user_id=None))
        await service.send_mail((await one()).id)

        assert (await one()).status == "sent"
        assert await told({"notifications": service.db}, NotificationSent) == []


async def test_nothing_is_sent_about_somebody_who_was_erased(database_url: str) -> None:
    """N10a."""
    async with notifications(database_url) as service:
        assert ORDER.user_id is not None
        with acting(AUTH):
            async with service.db.transaction():
                await service.erase_person(UserErased(ORDER.user_id, service.clock.now()))
        await order(service)

        assert await NotificationDelivery.count() == 0
