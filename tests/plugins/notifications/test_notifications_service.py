"""The service `notifications` built by hand on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import attrs
import pytest

from orion_core.adapters.choose import open_database
from orion_core.context import Actor, Context, acting, use
from orion_core.contracts.auth import RefreshReuseDetected, UserRegistered
from orion_core.contracts.notifications import Notifications
from orion_core.contracts.users import UserErased
from orion_core.errors import Invalid
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.migrate_new import drift
from orion_core.outbox import Outbox
from orion_core.ports.check import Check
from orion_core.ports.mail import MailRefused, MailUnavailable
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_plugins.notifications.plugin import orion_plugin
from orion_plugins.notifications.service import RETRIES, NotificationsService
from orion_plugins.notifications.settings import NotificationsSettings
from orion_plugins.notifications.tables import (
    Notification,
    NotificationDelivery,
    NotificationHistory,
    NotificationTombstone,
)

TABLES = (Notification, NotificationDelivery, NotificationHistory, NotificationTombstone)
MIGRATIONS = "orion_plugins.notifications.migrations"


class Outbound:
    """A provider of mail that answers as told, then takes everything."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.tried: list[EmailMessage] = []

    async def send(self, message: EmailMessage) -> None:
        self.tried.append(message)
        if self.answers:
            raise self.answers.pop(0)

    async def check(self) -> Check:
        return Check("pass")

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def notifications(url: str, *answers: Exception) -> AsyncIterator[NotificationsService]:
    db = await open_database(Settings(database_url=url, synchronous="NORMAL"), "notifications")
    try:
        await up(db, [CORE, MigrationApp("notifications", MIGRATIONS)])
        for table in TABLES:
            table._meta.db = db.engine
        clock = MovableClock()
        yield NotificationsService(
            db=db,
            events=Outbox("notifications", Notifications, db, clock),
            jobs=JobQueue("notifications", db, clock),
            clock=clock,
            mail=Outbound(*answers),
            keyring=Keyring.generate(),
            settings=NotificationsSettings(mail_from="Shop <no-reply@example.org>"),
        )
    finally:
        await db.aclose()


def outbound(service: NotificationsService) -> Outbound:
    assert isinstance(service.mail, Outbound)
    return service.mail


async def hear(service: NotificationsService, user_id: UUID, event_id: UUID, name: str = "Ada") -> None:
    """The news of a registration, as the inbox delivers them."""
    event = UserRegistered(
        user_id=user_id, email="ada@x.org", name=name, registered_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    with use(Context(correlation_id="req-1", causation_id=str(event_id))):
        async with service.db.transaction():
            await service.welcome(event)


async def delivery(service: NotificationsService) -> NotificationDelivery:
    """The only delivery, made by news of a registration if there is none."""
    if not await NotificationDelivery.count():
        await hear(service, new_id(), new_id())
    [row] = await NotificationDelivery.objects()
    return row


async def history() -> list[tuple[str, int]]:
    rows = await NotificationHistory.objects().order_by(NotificationHistory.id)
    return [(row.status, row.attempt) for row in rows]


async def rows(service: NotificationsService, table: str) -> list[dict[str, Any]]:
    return await service.db.fetch(f"SELECT * FROM {table}")


async def test_news_that_come_three_times_welcome_once(database_url: str) -> None:
    """N1: also when they were replayed from the dead letters, where the inbox knows nothing of them."""
    async with notifications(database_url) as service:
        user_id, event_id = new_id(), new_id()
        for _ in range(3):
            await hear(service, user_id, event_id)

        assert await Notification.count() == 1
        row = await delivery(service)
        [job] = await rows(service, "orion_jobs")
        assert (job["type"], json.loads(job["args"])) == ("notifications.send_mail", {"delivery_id": str(row.id)})
        assert (row.address, row.template, row.template_version, row.status) == ("ada@x.org", "welcome", 1, "queued")
        assert row.correlation_id == "req-1"
        assert await history() == [("queued", 0)]


async def hear_of_reuse(service: NotificationsService, user_id: UUID, event_id: UUID, ip_address: str) -> None:
    event = RefreshReuseDetected(
        session_id=new_id(),
        user_id=user_id,
        email="ada@x.org",
        ip_address=ip_address,
        session_ip_address="192.0.2.7",
        detected_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    with use(Context(causation_id=str(event_id))):
        async with service.db.transaction():
            await service.warn_of_reuse(event)


@pytest.mark.parametrize("ip_address", ["198.51.100.9", ""])
async def test_a_session_that_may_have_been_stolen_is_told_once_with_both_addresses(
    ip_address: str, database_url: str
) -> None:
    """A26, N1."""
    async with notifications(database_url) as service:
        user_id, event_id = new_id(), new_id()
        for _ in range(3):
            await hear_of_reuse(service, user_id, event_id, ip_address)

        [row] = await NotificationDelivery.objects()
        await service.send_mail(row.id)
        [mail] = outbound(service).tried
        assert mail["To"] == "ada@x.org"
        for part in mail.iter_parts():
            text, wanted = part.get_content(), (ip_address or "unknown", "192.0.2.7", "2026-01-02 03:04 UTC")
            assert [each for each in wanted if each not in text] == []
            assert "$" not in text
        with acting(Actor("user", str(user_id))):
            [notice] = (await service.mine("", 50)).items
        assert notice.type == "auth.refresh_reuse"


async def test_an_erased_person_is_not_told_of_their_sessions(database_url: str) -> None:
    """U36."""
    async with notifications(database_url) as service:
        user_id = new_id()
        async with service.db.transaction():
            await service.erase_person(UserErased(user_id, service.clock.now()))
        await hear_of_reuse(service, user_id, new_id(), "198.51.100.9")

        assert await Notification.count() == await NotificationDelivery.count() == 0


async def test_different_facts_make_different_notices(database_url: str) -> None:
    """N1."""
    async with notifications(database_url) as service:
        event_id = new_id()
        await hear(service, new_id(), event_id)
        await hear(service, new_id(), new_id())

        assert await Notification.count() == await NotificationDelivery.count() == 2


async def test_a_mail_is_sent_told_and_recorded_once(database_url: str) -> None:
    """N1, N10."""
    async with notifications(database_url) as service:
        row = await delivery(service)
        for _ in range(3):
            await service.send_mail(row.id)

        [mail] = outbound(service).tried
        assert mail["Message-ID"] == f"<{row.id}@example.org>"
        assert mail["X-Correlation-ID"] == "req-1"
        row = await delivery(service)
        assert (row.status, row.attempts, row.message_id, row.last_error) == ("sent", 1, mail["Message-ID"], "")
        assert row.sent_at is not None
        assert await history() == [("queued", 0), ("sending", 1), ("sent", 1)]
        [told] = await rows(service, "orion_outbox")
        assert told["name"] == "notification.sent"
        assert json.loads(told["data"])["notification_id"] == str(row.notification_id)


async def test_an_unknown_delivery_is_nothing_to_do(database_url: str) -> None:
    """N1: its rows may have been purged meanwhile."""
    async with notifications(database_url) as service:
        await service.send_mail(new_id())

        assert outbound(service).tried == []


async def test_a_provider_that_is_away_is_asked_again_with_the_same_message_id(database_url: str) -> None:
    """N4, N4a."""
    async with notifications(database_url, MailUnavailable("451 greylisted")) as service:
        row = await delivery(service)
        with pytest.raises(MailUnavailable):
            await service.send_mail(row.id)
        deferred = await delivery(service)
        await service.send_mail(row.id)

        assert (deferred.status, deferred.last_error) == ("deferred", "451 greylisted")
        assert (await delivery(service)).status == "sent"
        first, second = outbound(service).tried
        assert first["Message-ID"] == second["Message-ID"]
        assert await history() == [("queued", 0), ("sending", 1), ("deferred", 1), ("sending", 2), ("sent", 2)]


async def test_a_provider_that_stays_away_makes_a_dead_delivery_that_can_be_replayed(database_url: str) -> None:
    """N9."""
    async with notifications(database_url, *[MailUnavailable("away")] * (RETRIES + 1)) as service:
        row = await delivery(service)
        for _ in range(RETRIES + 1):
            with pytest.raises(MailUnavailable):
                await service.send_mail(row.id)
        assert (await delivery(service)).status == "dead"

        await service.send_mail(row.id)

        assert (await delivery(service)).status == "sent"


async def test_a_refused_mail_has_failed_and_is_not_tried_again(database_url: str) -> None:
    """N4."""
    async with notifications(database_url, MailRefused("550 no such user")) as service:
        row = await delivery(service)
        for _ in range(2):
            await service.send_mail(row.id)

        row = await delivery(service)
        assert (row.status, row.attempts, row.last_error) == ("failed", 1, "550 no such user")
        assert len(outbound(service).tried) == 1
        assert await rows(service, "orion_outbox") == []


async def test_a_template_that_cannot_be_filled_in_ends_as_failed_and_not_as_half_a_mail(database_url: str) -> None:
    """N6."""
    async with notifications(database_url) as service:
        row = await delivery(service)
        async with service.db.transaction():
            await NotificationDelivery.update({NotificationDelivery.variables: '{"email": "x"}'}).where(
                NotificationDelivery.id == row.id
            )

        await service.send_mail(row.id)

        row = await delivery(service)
        assert (row.status, row.last_error) == ("failed", "welcome.v1.txt, line 1: the variable greeting is not given")
        assert outbound(service).tried == []


async def test_pages_go_through_all_notices_newest_first_while_new_ones_arrive(database_url: str) -> None:
    """N8."""
    async with notifications(database_url) as service:
        user_id = new_id()
        for _ in range(5):
            await hear(service, user_id, new_id())
            await hear(service, new_id(), new_id())
        known = await Notification.objects().where(Notification.user_id == user_id).order_by(Notification.id)

        walked, cursor = [], ""
        with acting(Actor("user", str(user_id))):
            while True:
                page = await service.mine(cursor, 2)
                walked += [notice.id for notice in page.items]
                await hear(service, user_id, new_id())
                if page.next_cursor is None:
                    break
                cursor = page.next_cursor

        assert walked == [row.id for row in reversed(known)]


async def test_a_page_that_ends_with_the_last_notice_has_no_next(database_url: str) -> None:
    """N8."""
    async with notifications(database_url) as service:
        user_id = new_id()
        for _ in range(2):
            await hear(service, user_id, new_id())

        with acting(Actor("user", str(user_id))):
            assert (await service.mine("", 2)).next_cursor is None
            assert (await service.mine("", 1)).next_cursor is not None
            for limit in (0, 201):
                with pytest.raises(Invalid):
                    await service.mine("", limit)


async def test_what_is_older_than_the_retention_is_removed_and_nothing_else(database_url: str) -> None:
    """N10a: more rows than one batch holds."""
    async with notifications(database_url) as service:
        old = service.clock.now() - timedelta(days=401)
        async with service.db.transaction():
            for first in range(0, 2100, 100):
                await Notification.insert(
                    *[
                        Notification(
                            id=new_id(), event_id=str(first + number), user_id=new_id(), type="x", created_at=old
                        )
                        for number in range(100)
                    ]
                )
        kept = await delivery(service)
        await service.send_mail(kept.id)

        await service.purge()

        assert [row["id"] for row in await Notification.select(Notification.id)] == [kept.notification_id]
        assert await NotificationDelivery.count() == 1
        assert await NotificationHistory.count() == 3

        clock = service.clock
        assert isinstance(clock, MovableClock)
        clock.advance(timedelta(days=401))
        await service.purge()

        assert [await table.count() for table in TABLES] == [0, 0, 0, 0]


async def test_the_sender_and_the_product_are_settings(database_url: str) -> None:
    """N5."""
    async with notifications(database_url) as built:
        service = attrs.evolve(built, settings=NotificationsSettings(mail_from="Büro <post@büro.example>"))
        await hear(service, new_id(), new_id())
        await service.send_mail((await delivery(service)).id)

        [mail] = outbound(service).tried
        assert mail["Subject"] == "Welcome to Büro"
        assert mail["From"].addresses[0].addr_spec == "post@xn--bro-hoa.example"
        assert mail["Message-ID"].endswith("@xn--bro-hoa.example>")


async def test_tables_and_migrations_agree() -> None:
    """What the next migration would do is nothing."""
    assert await drift("notifications", TABLES, MIGRATIONS) == []
    assert orion_plugin().port == 3003


async def erase(service: NotificationsService, user_id: UUID) -> None:
    async with service.db.transaction():
        await service.erase_person(UserErased(user_id, service.clock.now()))


async def test_an_erased_person_leaves_nothing_and_a_job_under_way_ends(database_url: str) -> None:
    """U36."""
    async with notifications(database_url) as service:
        ada, grace = new_id(), new_id()
        await hear(service, ada, new_id())
        waiting = await delivery(service)
        await hear(service, grace, new_id())

        for _ in range(2):
            await erase(service, ada)
        await service.send_mail(waiting.id)

        for table in (Notification, NotificationDelivery, NotificationHistory):
            assert [row["user_id"] for row in await table.select(table.user_id)] == [grace]
        assert outbound(service).tried == []


async def test_late_news_of_an_erased_person_lead_to_nothing(database_url: str) -> None:
    """U36."""
    async with notifications(database_url) as service:
        ada = new_id()
        await erase(service, ada)
        await hear(service, ada, new_id())

        assert [await table.count() for table in TABLES] == [0, 0, 0, 1]


async def test_what_a_server_says_of_an_address_is_kept_with_the_delivery_alone(database_url: str) -> None:
    """U35: the job's row and the log would keep it beyond the person's erasure."""
    async with notifications(database_url, MailUnavailable("451 <ada@x.org> greylisted")) as service:
        waiting = await delivery(service)
        with pytest.raises(MailUnavailable) as failed:
            await service.send_mail(waiting.id)

        shown = "".join(traceback.format_exception(failed.value))
        assert "ada@x.org" not in shown
        assert "ada@x.org" in (await delivery(service)).last_error
