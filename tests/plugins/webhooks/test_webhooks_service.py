"""The service `webhooks` built by hand on SQLite and on PostgreSQL, with a real receiver."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import pytest

from orion_core.adapters.choose import open_database
from orion_core.contracts.users import UserErased
from orion_core.contracts.webhooks import (
    Attempt,
    Delivery,
    EndpointChange,
    EndpointSecret,
    NewEndpoint,
    NoSuchEndpoint,
    PayloadRemoved,
    TooManySecrets,
    Webhooks,
)
from orion_core.events import Envelope
from orion_core.ids import new_id
from orion_core.jobs import Retry
from orion_core.keyring import Keyring
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.migrate_new import drift
from orion_core.outbox import Outbox
from orion_core.queue import JobQueue
from orion_core.sealing import Unsealable
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_core.testing.databases import postgres_database, waits_for_lock
from orion_core.testing.engines import until
from orion_core.testing.receiver import Receiver
from orion_core.webhook_verifier import NotVerified
from orion_plugins.webhooks.outcomes import Outcome, Verdict
from orion_plugins.webhooks.plugin import orion_plugin
from orion_plugins.webhooks.service import LARGE_PAYLOAD, MAX_PAYLOAD, WebhooksService
from orion_plugins.webhooks.settings import WebhooksSettings
from orion_plugins.webhooks.tables import WebhookDelivery, WebhookEndpoint

MIGRATIONS = "orion_plugins.webhooks.migrations"
TABLES = tuple(orion_plugin().tables)


@asynccontextmanager
async def webhooks(url: str, **settings: Any) -> AsyncIterator[WebhooksService]:
    db = await open_database(Settings(database_url=url, synchronous="NORMAL"), "webhooks")
    try:
        await up(db, [CORE, MigrationApp("webhooks", MIGRATIONS)])
        for table in TABLES:
            table._meta.db = db.engine  # type: ignore[attr-defined]  # they are Piccolo's
        clock = MovableClock()
        given = {"allowed_networks": ("127.0.0.0/8",), "retry_delays": (10.0, 100.0), **settings}
        async with WebhooksService(
            db=db,
            events=Outbox("webhooks", Webhooks, db, clock),
            jobs=JobQueue("webhooks", db, clock),
            clock=clock,
            keyring=Keyring.generate(),
            settings=WebhooksSettings(**given),
        ) as service:
            yield service
    finally:
        await db.aclose()


def told(name: str = "user.registered", data: str = '{"user_id":"1"}', event_id: UUID | None = None) -> Envelope:
    return Envelope(
        id=event_id or new_id(),
        name=name,
        version=1,
        source="/services/auth",
        subject="1",
        sequence=1,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        data=data,
        correlation_id="req-1",
        causation_id="",
        started="",
        tracestate="",
        originator="system",
        heard=True,
    )


async def hear(service: WebhooksService, envelope: Envelope) -> None:
    async with service.db.transaction():
        await service.fan_out(envelope)


async def endpoint(service: WebhooksService, receiver: Receiver, *event_types: str) -> EndpointSecret:
    return await service.create_endpoint(NewEndpoint(receiver.url, event_types or ("*",)))


async def the_delivery(service: WebhooksService) -> Delivery:
    [found] = (await service.deliveries(None, "", "", 50)).items
    return found


async def log(service: WebhooksService, delivery_id: UUID) -> list[Attempt]:
    return list(reversed((await service.attempts(delivery_id, "", 200)).items))


async def rows(service: WebhooksService, table: str) -> list[dict[str, Any]]:
    return await service.db.fetch(f"SELECT * FROM {table}")


async def jobs(service: WebhooksService) -> list[tuple[str, dict[str, Any]]]:
    found = await service.db.fetch("SELECT type, args FROM orion_jobs ORDER BY id")
    return [(row["type"], json.loads(row["args"])) for row in found]


async def events(service: WebhooksService) -> list[str]:
    return [row["name"] for row in await service.db.fetch("SELECT name FROM orion_outbox ORDER BY position")]


async def test_the_migrations_make_what_the_tables_say() -> None:
    assert await drift("webhooks", TABLES, MIGRATIONS) == []  # type: ignore[arg-type]  # they are Piccolo's


async def test_an_event_leads_to_one_message_and_a_delivery_and_a_job_for_each_endpoint(database_url: str) -> None:
    """WT7: told twice, it is sent once."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        wanted = [await endpoint(service, receiver, *types) for types in (("*",), ("user.*",), ("user.registered",))]
        await endpoint(service, receiver, "user.erased")
        disabled = await endpoint(service, receiver)
        await service.change_endpoint(disabled.endpoint.id, EndpointChange(enabled=False))
        envelope = told()
        for _ in range(3):
            await hear(service, envelope)

        assert len(await rows(service, "webhook_messages")) == 1
        deliveries = (await service.deliveries(None, "", "", 50)).items
        assert {each.endpoint_id for each in deliveries} == {each.endpoint.id for each in wanted}
        assert len({each.message_id for each in deliveries}) == 1
        # The names of jobs and arguments are read by later releases: WT11.
        assert sorted(await jobs(service), key=str) == sorted(
            [("webhooks.deliver", {"delivery_id": str(each.id), "turn": 0}) for each in deliveries], key=str
        )


async def test_an_event_nobody_asked_for_leaves_nothing(database_url: str) -> None:
    """WT10: neither does one whose data was blanked on its way, when its person was erased."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver, "auth.*")
        for name in ("user.registered", "webhook.delivered", "system.requests_measured"):
            await hear(service, told(name))
        await hear(service, told("auth.session_started", data=""))

        for table in ("webhook_messages", "webhook_deliveries", "orion_jobs"):
            assert await rows(service, table) == []


async def test_neither_message_nor_job_survives_a_listener_that_failed(database_url: str) -> None:
    """WT4."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)

        async def fail() -> None:
            async with service.db.transaction():
                await service.fan_out(told())
                raise RuntimeError("not after all")

        with pytest.raises(RuntimeError, match="after all"):
            await fail()

        for table in ("webhook_messages", "webhook_deliveries", "orion_jobs"):
            assert await rows(service, table) == []


async def test_a_failed_delivery_is_repeated_until_it_succeeds(database_url: str) -> None:
    """WT1, W2, W7, WT8: the same id and bytes, a new time and signature."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        receiver.then(500, body=b"broken")
        receiver.then(429, {"retry-after": "5000"})
        data = '{"z":1,"a":{"y":"\u00fc","b":[1.0]}}'
        await hear(service, told(data=data))
        delivery = await the_delivery(service)

        with pytest.raises(Retry) as first:
            await service.deliver(delivery.id, 0)
        waiting = await the_delivery(service)
        service.clock.advance(timedelta(seconds=13))  # type: ignore[attr-defined]  # it is a movable one
        with pytest.raises(Retry) as second:
            await service.deliver(delivery.id, 0)
        service.clock.advance(timedelta(seconds=5001))  # type: ignore[attr-defined]
        await service.deliver(delivery.id, 0)
        await service.deliver(delivery.id, 0)

        assert first.value.after is not None
        assert 8 <= first.value.after <= 12
        assert second.value.after == 5000
        assert (waiting.status, waiting.last_status, waiting.attempts) == ("pending", 500, 1)
        assert waiting.next_attempt_at is not None
        assert [(each.number, each.outcome, each.status_code) for each in await log(service, delivery.id)] == [
            (1, "failed", 500),
            (2, "failed", 429),
            (3, "succeeded", 200),
        ]
        assert [each.excerpt for each in await log(service, delivery.id)] == ["broken", "", ""]
        assert (await the_delivery(service)).status == "succeeded"
        assert await events(service) == ["webhook.delivered"]
        assert {each.id for each in receiver.requests} == {delivery.message_id}
        assert {each.body for each in receiver.requests} == {
            ('{"type":"user.registered","timestamp":"2026-01-01T00:00:00Z","data":' + data + "}").encode()
        }
        assert len({each.headers["webhook-timestamp"] for each in receiver.requests}) == 3
        for each in receiver.requests:
            each.verify(made.secret, now=float(each.headers["webhook-timestamp"]))


async def test_an_exhausted_delivery_is_dead_and_told(database_url: str) -> None:
    """W7a."""
    async with webhooks(database_url, retry_delays=(0.0,)) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        receiver.then(500)
        receiver.then(503)
        await hear(service, told())
        delivery = await the_delivery(service)
        with pytest.raises(Retry):
            await service.deliver(delivery.id, 0)
        await service.deliver(delivery.id, 0)
        await service.deliver(delivery.id, 0)

        dead = await the_delivery(service)
        assert (dead.status, dead.attempts, dead.detail) == ("dead", 2, "the receiver answered 503")
        assert dead.next_attempt_at is None
        assert await events(service) == ["webhook.exhausted"]
        assert len(receiver.requests) == 2


async def test_a_job_that_comes_back_too_early_waits_for_its_time(database_url: str) -> None:
    """W10: a process that died between the attempt and its outcome does not shorten the schedule."""
    async with webhooks(database_url, retry_delays=(1000.0,)) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        receiver.then(500)
        await hear(service, told())
        delivery = await the_delivery(service)
        with pytest.raises(Retry):
            await service.deliver(delivery.id, 0)
        with pytest.raises(Retry) as again:
            await service.deliver(delivery.id, 0)

        assert again.value.after is not None
        assert again.value.after > 700
        assert len(receiver.requests) == 1


async def test_a_refused_target_is_given_up_at_once(database_url: str) -> None:
    """W4b: settings may have become stricter since the endpoint was made."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        await WebhookEndpoint.update({WebhookEndpoint.url: "https://169.254.169.254/"}).where(
            WebhookEndpoint.id == made.endpoint.id
        )
        await hear(service, told())
        delivery = await the_delivery(service)
        await service.deliver(delivery.id, 0)

        dead = await the_delivery(service)
        [attempt] = await log(service, delivery.id)
        assert (dead.status, dead.detail) == ("dead", "the target may not be called")
        assert (attempt.outcome, attempt.address, attempt.status_code) == ("refused", "", None)


async def test_a_manual_failure_takes_the_place_of_the_scheduled_attempt(database_url: str) -> None:
    """WT3."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        for _ in range(2):
            receiver.then(500)
        await hear(service, told())
        delivery = await the_delivery(service)
        with pytest.raises(Retry):
            await service.deliver(delivery.id, 0)
        await service.retry(delivery.id)
        await service.resend(delivery.id)
        service.clock.advance(timedelta(seconds=13))  # type: ignore[attr-defined]
        await service.deliver(delivery.id, 0)

        assert len(receiver.requests) == 2
        assert [kind for kind, _ in await jobs(service)] == ["webhooks.deliver", "webhooks.resend", "webhooks.deliver"]
        assert (await jobs(service))[-1][1] == {"delivery_id": str(delivery.id), "turn": 1}
        service.clock.advance(timedelta(seconds=120))  # type: ignore[attr-defined]
        await service.deliver(delivery.id, 1)
        assert (await the_delivery(service)).status == "succeeded"


async def test_a_manual_success_ends_the_schedule(database_url: str) -> None:
    """WT3."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        receiver.then(500)
        await hear(service, told())
        delivery = await the_delivery(service)
        with pytest.raises(Retry):
            await service.deliver(delivery.id, 0)
        await service.resend(delivery.id)
        service.clock.advance(timedelta(seconds=13))  # type: ignore[attr-defined]
        await service.deliver(delivery.id, 0)

        assert (await the_delivery(service)).status == "succeeded"
        assert len(receiver.requests) == 2


async def test_two_manual_retries_are_two_attempts_and_a_success_stays_one(database_url: str) -> None:
    """WT2, W9a."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        await hear(service, told())
        delivery = await the_delivery(service)
        await service.deliver(delivery.id, 0)
        receiver.then(500)
        for _ in range(2):
            await service.retry(delivery.id)
        for _ in range(2):
            await service.resend(delivery.id)

        assert len(receiver.requests) == 3
        assert (await the_delivery(service)).status == "succeeded"
        assert [(each.manual, each.outcome) for each in await log(service, delivery.id)] == [
            (False, "succeeded"),
            (True, "failed"),
            (True, "succeeded"),
        ]
        assert await events(service) == ["webhook.delivered"]


async def test_an_outcome_that_could_not_be_stored_leads_to_a_repeat_with_the_same_id(database_url: str) -> None:
    """W8: the receiver said 200, the process died before the commit."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        await hear(service, told())
        delivery = await the_delivery(service)
        begun = await service._life.begin(delivery.id, 0)
        assert begun is not None
        said = await service.sender.send(begun.url, begun.headers(service.clock.now()), begun.body)
        assert said.succeeded

        await service.deliver(delivery.id, 0)

        assert [each.id for each in receiver.requests] == [delivery.message_id] * 2
        assert [each.outcome for each in await log(service, delivery.id)] == ["started", "succeeded"]
        assert (await the_delivery(service)).attempts == 2


async def test_disabling_and_removing_an_endpoint_aborts_what_is_pending(database_url: str) -> None:
    async with webhooks(database_url) as service, Receiver() as receiver:
        first, second = [await endpoint(service, receiver) for _ in range(2)]
        await hear(service, told())
        await service.change_endpoint(first.endpoint.id, EndpointChange(enabled=False))
        await service.delete_endpoint(second.endpoint.id)
        found = (await service.deliveries(None, "aborted", "", 50)).items
        for delivery in found:
            await service.deliver(delivery.id, 0)

        assert {each.detail for each in found} == {"the endpoint was disabled", "the endpoint was removed"}
        assert receiver.requests == []
        assert len(await rows(service, "webhook_secrets")) == 1


async def test_secrets_are_in_no_log_and_nowhere_in_the_database_but_sealed(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """W2a, A60."""
    caplog.set_level(logging.DEBUG)
    # Hosts that other tests started in this process have made it quiet.
    caplog.set_level(logging.DEBUG, logger="httpcore")
    async with webhooks(database_url) as service, Receiver() as receiver:
        receiver.then(500)
        made = await endpoint(service, receiver)
        rotated = await service.rotate_secret(made.endpoint.id)
        await hear(service, told())
        with pytest.raises(Retry):
            await service.deliver((await the_delivery(service)).id, 0)

        tables = [table._meta.tablename for table in TABLES] + ["orion_outbox", "orion_jobs", "orion_inbox"]  # type: ignore[attr-defined]
        everything = "".join([str(await rows(service, table)) for table in tables])
        for secret in (made.secret, rotated.secret):
            assert secret not in repr(made) + repr(rotated)
            assert secret.removeprefix("whsec_").rstrip("=") not in everything + caplog.text
        assert made.secret != rotated.secret
        assert "webhook_secrets" not in everything
        assert "send_request_headers" in caplog.text, "the log has to have been asked for everything"


async def test_a_replaced_secret_signs_for_a_day_and_no_longer(database_url: str) -> None:
    """W2a, WT6."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        rotated = await service.rotate_secret(made.endpoint.id)
        for hours in (23, 2):
            service.clock.advance(timedelta(hours=hours))  # type: ignore[attr-defined]
            test = await service.send_test(made.endpoint.id)
            await service.deliver(test.id, 0)

        early, late = receiver.requests
        for secret in (made.secret, rotated.secret):
            assert early.verify(secret, now=float(early.headers["webhook-timestamp"]))
        assert late.verify(rotated.secret, now=float(late.headers["webhook-timestamp"]))
        assert len(await rows(service, "webhook_secrets")) == 2
        await service.purge()
        assert len(await rows(service, "webhook_secrets")) == 1
        with pytest.raises(NotVerified):
            late.verify(made.secret, now=float(late.headers["webhook-timestamp"]))


async def test_an_endpoint_has_five_secrets_in_use_at_most(database_url: str) -> None:
    """W2a."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        for _ in range(4):
            await service.rotate_secret(made.endpoint.id)
        with pytest.raises(TooManySecrets):
            await service.rotate_secret(made.endpoint.id)
        service.clock.advance(timedelta(hours=25))  # type: ignore[attr-defined]
        await service.rotate_secret(made.endpoint.id)

        assert len(await rows(service, "webhook_secrets")) == 2


async def test_a_payload_that_is_too_large_is_given_up_and_told(database_url: str) -> None:
    """W10."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        await hear(service, told(data=json.dumps({"text": "x" * MAX_PAYLOAD})))

        delivery = await the_delivery(service)
        assert (delivery.status, delivery.detail) == ("dead", "the payload has more than 262144 bytes")
        assert await events(service) == ["webhook.exhausted"]
        assert await jobs(service) == []
        with pytest.raises(PayloadRemoved):
            await service.retry(delivery.id)


@pytest.mark.parametrize(("size", "warned"), [(LARGE_PAYLOAD - 200, False), (LARGE_PAYLOAD, True)])
async def test_a_large_payload_is_sent_with_a_warning(
    database_url: str, caplog: pytest.LogCaptureFixture, size: int, warned: bool
) -> None:
    """W10."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        await hear(service, told(data=json.dumps({"text": "x" * size})))
        await service.deliver((await the_delivery(service)).id, 0)

        assert len(receiver.requests) == 1
        assert ("makes a payload of" in caplog.text) is warned


async def test_an_erased_person_is_forgotten(database_url: str) -> None:
    """Y32 and its like: payloads that name the person are removed, answers to them too."""
    person, other = new_id(), new_id()
    async with webhooks(database_url) as service, Receiver() as receiver:
        receiver.then(500, body=b"who is Ada?")
        made = await endpoint(service, receiver)
        for envelope in (
            told(data=json.dumps({"user_id": str(person), "name": "Ada"})),
            told(data=json.dumps({"user_id": str(other), "name": "Grace"})),
            told("user.erased", json.dumps({"user_id": str(person)})),
        ):
            await hear(service, envelope)
        erased, about_ada, about_grace = sorted(
            (await service.deliveries(made.endpoint.id, "", "", 50)).items, key=lambda each: (each.type, each.id)
        )
        with pytest.raises(Retry):
            await service.deliver(about_ada.id, 0)
        async with service.db.transaction():
            await service.forget(UserErased(user_id=person, erased_at=service.clock.now()))
        assert (await jobs(service))[-3:] == [("webhooks.forget_person", {"user_id": str(person)})] * 3
        await service.forget_person(person)
        await service.forget_person(person)

        forgotten = await service.delivery(about_ada.id)
        assert (forgotten.payload, forgotten.delivery.status) == (None, "aborted")
        assert [each.excerpt for each in await log(service, about_ada.id)] == [""]
        assert (await service.delivery(about_grace.id)).delivery.status == "pending"
        assert (await service.delivery(erased.id)).payload is not None
        with pytest.raises(PayloadRemoved):
            await service.retry(about_ada.id)
        assert "Ada" not in str(await rows(service, "webhook_messages")) + str(await rows(service, "webhook_attempts"))


async def test_old_deliveries_and_attempts_are_removed_and_what_is_pending_stays(database_url: str) -> None:
    """W9: the log is kept for 30 days."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver, "user.registered")
        await hear(service, told())
        await service.deliver((await the_delivery(service)).id, 0)
        await endpoint(service, receiver, "user.erased")
        await hear(service, told("user.erased"))
        service.clock.advance(timedelta(days=29))  # type: ignore[attr-defined]
        await service.purge()
        assert [len(await rows(service, f"webhook_{what}")) for what in ("attempts", "deliveries", "messages")] == [
            1,
            2,
            2,
        ]
        service.clock.advance(timedelta(days=2))  # type: ignore[attr-defined]
        await service.purge()

        assert [len(await rows(service, f"webhook_{what}")) for what in ("attempts", "deliveries", "messages")] == [
            0,
            1,
            1,
        ]
        assert (await the_delivery(service)).status == "pending"


async def test_an_attempt_that_ends_late_never_undoes_a_success(database_url: str) -> None:
    """WT2: a scheduled attempt is under way while a manual one succeeds."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        await hear(service, told())
        delivery = await the_delivery(service)
        slow = await service._life.begin(delivery.id, 0)
        assert slow is not None
        await service.resend(delivery.id)
        async with service.db.transaction():
            waits = await service._life.end(slow, Outcome(error="no answer in time"), Verdict("pending", after=5.0))

        assert not waits
        assert (await the_delivery(service)).status == "succeeded"
        assert [each.outcome for each in await log(service, delivery.id)] == ["failed", "succeeded"]


async def test_rotations_at_the_same_time_leave_one_secret_that_lasts(database_url: str) -> None:
    """W2a: of all others it is known when they end."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        await asyncio.gather(*(service.rotate_secret(made.endpoint.id) for _ in range(4)))

        ends = [row["expires_at"] for row in await rows(service, "webhook_secrets")]
        assert (len(ends), ends.count(None)) == (5, 1)


async def test_no_more_secrets_than_allowed_come_of_rotations_at_the_same_time(database_url: str) -> None:
    """W2a."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        rotations = (service.rotate_secret(made.endpoint.id) for _ in range(8))
        outcomes = await asyncio.gather(*rotations, return_exceptions=True)

        assert [type(each) for each in outcomes if isinstance(each, Exception)] == [TooManySecrets] * 4
        assert len(await rows(service, "webhook_secrets")) == 5


async def test_an_endpoint_that_is_removed_meanwhile_is_not_there(database_url: str) -> None:
    async with webhooks(database_url) as service, Receiver() as receiver:
        for number in range(10):
            made = await endpoint(service, receiver)
            outcomes = await asyncio.gather(
                service.delete_endpoint(made.endpoint.id),
                service.change_endpoint(made.endpoint.id, EndpointChange(description=str(number))),
                service.rotate_secret(made.endpoint.id),
                return_exceptions=True,
            )
            assert {type(each) for each in outcomes if isinstance(each, Exception)} <= {NoSuchEndpoint}
        assert await rows(service, "webhook_secrets") == []


async def while_sending(
    service: WebhooksService, delivery: Delivery, said: Outcome, verdict: Verdict, meanwhile: Callable[[], Any]
) -> None:
    """The scheduled attempt, with `meanwhile` between the request and the answer."""
    begun = await service._life.begin(delivery.id, 0)
    assert begun is not None
    await meanwhile()
    async with service.db.transaction():
        await service._life.end(begun, said, verdict)


async def test_an_answer_that_comes_after_an_erasure_is_not_kept(database_url: str) -> None:
    """W9, Y32 and its like: it may repeat what was sent."""
    person = new_id()
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        await hear(service, told(data=json.dumps({"user_id": str(person), "name": "Ada"})))
        delivery = await the_delivery(service)
        said = Outcome(status=500, excerpt="I know no Ada")
        await while_sending(service, delivery, said, Verdict("dead"), lambda: service.forget_person(person))

        [attempt] = await log(service, delivery.id)
        assert (attempt.outcome, attempt.status_code, attempt.excerpt) == ("failed", 500, "")
        assert (await the_delivery(service)).status == "aborted"


async def test_a_receiver_that_is_gone_takes_no_endpoint_along_that_has_moved(database_url: str) -> None:
    """W7: the 410 was about the old URL."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        await hear(service, told())
        moved = EndpointChange(url=receiver.url + "&moved=yes")
        await while_sending(
            service,
            await the_delivery(service),
            Outcome(status=410),
            Verdict("aborted", disable=True),
            lambda: service.change_endpoint(made.endpoint.id, moved),
        )

        assert (await service.endpoint(made.endpoint.id)).enabled
        assert await events(service) == []


async def test_an_attempt_whose_secret_cannot_be_opened_was_not_made(database_url: str) -> None:
    """W8: another key is an outage, which costs no attempt and no turn."""
    async with webhooks(database_url) as service, Receiver() as receiver:
        await endpoint(service, receiver)
        await hear(service, told())
        delivery = await the_delivery(service)
        stranger = attrs.evolve(service._life, keyring=Keyring.generate())
        for turn in (0, None):
            with pytest.raises(Unsealable):
                await stranger.begin(delivery.id, turn)
        await service.deliver(delivery.id, 0)

        assert (await the_delivery(service)).status == "succeeded"
        assert [each.outcome for each in await log(service, delivery.id)] == ["succeeded"]


async def test_what_is_aborted_while_an_attempt_begins_is_not_sent() -> None:
    """Only PostgreSQL lets anything happen between reading and writing: SQLite has one writer."""
    async with postgres_database() as url, webhooks(url) as service, Receiver() as receiver:
        made = await endpoint(service, receiver)
        await hear(service, told())
        delivery = await the_delivery(service)
        aborted, waiting = asyncio.Event(), asyncio.Event()

        async def disable() -> None:
            async with service.db.transaction():
                await WebhookEndpoint.update({WebhookEndpoint.enabled: False}).where(
                    WebhookEndpoint.id == made.endpoint.id
                )
                await service._life.abort(WebhookDelivery.endpoint_id == made.endpoint.id, "the endpoint was disabled")
                aborted.set()
                await waiting.wait()

        async with asyncio.timeout(30):
            disabling = asyncio.create_task(disable())
            await aborted.wait()
            delivering = asyncio.create_task(service.deliver(delivery.id, 0))
            await until(lambda: waits_for_lock(service.db), "the delivery meeting the change")
            waiting.set()
            await asyncio.gather(disabling, delivering)

        assert receiver.requests == []
        assert (await the_delivery(service)).status == "aborted"
