"""Webhooks, as every reach shows them; the receiver is a real one on the loopback address."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from orion_core.context import ANONYMOUS
from orion_core.contracts.webhooks import (
    EndpointChange,
    EndpointIsDisabled,
    NewEndpoint,
    NoSuchDelivery,
    NoSuchEndpoint,
    WebhookDelivered,
    WebhookEndpointDisabled,
    Webhooks,
)
from orion_core.errors import Forbidden, Invalid, Unauthenticated
from orion_core.testing import Orion, Person
from orion_core.testing.receiver import Receiver
from orion_core.webhook_verifier import NotVerified
from orion_plugins.webhooks.settings import WebhooksSettings

pytestmark = [
    pytest.mark.reaches("local", "wire", "processes"),
    pytest.mark.orion(
        services=["auth", "users", "webhooks"],
        settings={"plugins": {"webhooks": WebhooksSettings(allowed_networks=("127.0.0.0/8",))}},
    ),
]

ENDPOINTS = "/api/v1/webhooks/endpoints"
DELIVERIES = "/api/v1/webhooks/deliveries"


class Manager:
    """An administrator with a receiver and an endpoint for it."""

    def __init__(self, orion: Orion, admin: Person, receiver: Receiver, made: dict[str, Any]) -> None:
        self.orion, self.admin, self.receiver = orion, admin, receiver
        self.id: str = made["endpoint"]["id"]
        self.secret: str = made["secret"]

    async def ask(self, method: str, path: str, **given: Any) -> Any:
        return await self.orion.http.request(method, path, headers=self.admin.headers, **given)

    async def deliveries(self, **params: str) -> list[dict[str, Any]]:
        answer = await self.ask("GET", DELIVERIES, params={"endpoint": self.id, **params})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    async def attempts(self, delivery: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"{DELIVERIES}/{delivery['id']}/attempts")
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    async def test_event(self) -> dict[str, Any]:
        answer = await self.ask("POST", f"{ENDPOINTS}/{self.id}/test")
        assert answer.status_code == 202, answer.text
        await self.orion.settle()
        found: dict[str, Any] = answer.json()
        return found


@contextlib.asynccontextmanager
async def managing(orion: Orion, *event_types: str) -> AsyncIterator[Manager]:
    """An endpoint for `event_types`, by default for those that nobody tells: tests share a deployment."""
    async with Receiver() as receiver:
        admin = await orion.admin()
        body = {"url": receiver.url, "event_types": list(event_types or ["nobody.tells_this"])}
        answer = await orion.http.post(ENDPOINTS, json=body, headers=admin.headers)
        assert answer.status_code == 201, answer.text
        manager = Manager(orion, admin, receiver, answer.json())
        try:
            yield manager
        finally:
            await manager.ask("DELETE", f"{ENDPOINTS}/{manager.id}")


async def test_a_registration_reaches_its_subscriber_signed(orion: Orion) -> None:
    """W1, W2: what arrives verifies with the secret that was shown, and says what the event said."""
    async with managing(orion, "user.registered") as manager:
        person = await orion.sign_up(name="Ada")
        await orion.settle()

        arrived = [each for each in manager.receiver.requests if str(person.id).encode() in each.body]

        assert len(arrived) == 1
        message = json.loads(arrived[0].body)
        assert list(message) == ["type", "timestamp", "data"]
        assert message["type"] == "user.registered"
        assert message["timestamp"].endswith("Z")
        assert message["data"]["email"] == person.email
        assert arrived[0].headers["content-type"] == "application/json"
        assert arrived[0].verify(manager.secret) == arrived[0].id
        with pytest.raises(NotVerified):
            arrived[0].verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


async def test_a_delivery_and_its_attempt_can_be_read(orion: Orion) -> None:
    """W9."""
    async with managing(orion) as manager:
        manager.receiver.then(201, body=b"thank you")
        sent = await manager.test_event()

        [delivery] = await manager.deliveries()
        detail = (await manager.ask("GET", f"{DELIVERIES}/{delivery['id']}")).json()
        [attempt] = await manager.attempts(delivery)
        of_endpoint = (await manager.ask("GET", f"{ENDPOINTS}/{manager.id}/attempts")).json()["items"]

        assert delivery["id"] == sent["id"]
        assert (delivery["status"], delivery["attempts"], delivery["last_status"]) == ("succeeded", 1, 201)
        assert delivery["finished_at"] is not None
        assert detail["delivery"] == delivery
        assert json.dumps(detail["payload"], separators=(",", ":")).encode() == manager.receiver.requests[0].body
        assert (attempt["number"], attempt["outcome"], attempt["manual"]) == (1, "succeeded", False)
        assert (attempt["excerpt"], attempt["address"], attempt["status_code"]) == ("thank you", "127.0.0.1", 201)
        assert attempt["latency_ms"] >= 0
        assert of_endpoint == [attempt]


async def test_a_test_event_is_signed_logged_and_marked(orion: Orion) -> None:
    """W10a."""
    async with managing(orion) as manager:
        sent = await manager.test_event()

        [arrived] = manager.receiver.requests
        assert json.loads(arrived.body)["type"] == "webhook.test"
        assert arrived.verify(manager.secret) == sent["message_id"]
        assert (sent["test"], sent["status"], sent["attempts"]) == (True, "pending", 0)


async def test_a_success_is_told_and_not_sent_on(orion: Orion) -> None:
    """An endpoint for everything is not told of its own deliveries: that would never end."""
    async with managing(orion, "webhook.*") as manager:
        sent = await manager.test_event()

        told = [event for event in await orion.told(WebhookDelivered) if str(event.delivery_id) == sent["id"]]
        assert [(str(event.endpoint_id), event.type, event.attempts) for event in told] == [
            (manager.id, "webhook.test", 1)
        ]
        assert len(manager.receiver.requests) == 1


async def test_an_event_nobody_asked_for_leaves_no_delivery(orion: Orion) -> None:
    """WT10."""
    async with managing(orion, "nobody.tells_this", "users.registered") as manager:
        await orion.sign_up()
        await orion.settle()

        assert await manager.deliveries() == []
        assert manager.receiver.requests == []


async def test_a_manual_retry_sends_the_same_id_again(orion: Orion) -> None:
    """WT2, W2, W9a: the id stays, the log shows each try."""
    async with managing(orion) as manager:
        manager.receiver.then(500, body=b"not now")
        sent = await manager.test_event()
        [failed] = await manager.deliveries(status="pending")

        answer = await manager.ask("POST", f"{DELIVERIES}/{sent['id']}/retry")
        await orion.settle()

        assert answer.status_code == 202
        assert (failed["detail"], failed["last_status"]) == ("the receiver answered 500", 500)
        assert failed["next_attempt_at"] is not None
        [delivery] = await manager.deliveries()
        assert (delivery["status"], delivery["attempts"]) == ("succeeded", 2)
        assert len({arrived.id for arrived in manager.receiver.requests}) == 1
        assert len({arrived.body for arrived in manager.receiver.requests}) == 1
        assert [(each["number"], each["outcome"], each["manual"]) for each in await manager.attempts(delivery)] == [
            (2, "succeeded", True),
            (1, "failed", False),
        ]


async def test_410_disables_the_endpoint(orion: Orion) -> None:
    """W7, WT5."""
    async with managing(orion) as manager:
        manager.receiver.then(410)
        await manager.test_event()

        endpoint = (await manager.ask("GET", f"{ENDPOINTS}/{manager.id}")).json()
        [delivery] = await manager.deliveries()
        refused = await manager.ask("POST", f"{ENDPOINTS}/{manager.id}/test")
        retried = await manager.ask("POST", f"{DELIVERIES}/{delivery['id']}/retry")
        told = [each for each in await orion.told(WebhookEndpointDisabled) if str(each.endpoint_id) == manager.id]

        assert (endpoint["enabled"], endpoint["disabled_reason"]) == (False, "the receiver answered 410")
        assert delivery["status"] == "aborted"
        assert (refused.status_code, refused.json()["code"]) == (409, "webhooks.endpoint_is_disabled")
        assert (retried.status_code, retried.json()["code"]) == (409, "webhooks.endpoint_is_disabled")
        assert [each.created_by for each in told] == [manager.admin.id]


async def test_a_receiver_can_abort_a_message(orion: Orion) -> None:
    """W7: the header `webhook-delivery: abort-message`."""
    async with managing(orion) as manager:
        manager.receiver.then(400, {"Webhook-Delivery": "abort-message"})
        await manager.test_event()

        [delivery] = await manager.deliveries()
        assert (delivery["status"], delivery["next_attempt_at"]) == ("aborted", None)


async def test_redirects_are_failures_and_not_followed(orion: Orion) -> None:
    """W4a, W4c, W7."""
    async with managing(orion) as manager:
        manager.receiver.then(302, {"location": "http://169.254.169.254/latest/meta-data"})
        await manager.test_event()

        [delivery] = await manager.deliveries()
        assert (delivery["status"], delivery["last_status"]) == ("pending", 302)
        assert len(manager.receiver.requests) == 1


async def test_after_a_rotation_both_secrets_verify(orion: Orion) -> None:
    """W2a, WT6."""
    async with managing(orion) as manager:
        answer = await manager.ask("POST", f"{ENDPOINTS}/{manager.id}/rotate")
        await manager.test_event()

        assert answer.status_code == 201
        assert answer.json()["secret"] != manager.secret
        assert answer.json()["previous_until"] is not None
        [arrived] = manager.receiver.requests
        assert arrived.verify(manager.secret) == arrived.verify(answer.json()["secret"]) == arrived.id
        assert len(arrived.headers["webhook-signature"].split()) == 2


async def test_secrets_are_shown_once(orion: Orion) -> None:
    """W2a."""
    async with managing(orion) as manager:
        one = await manager.ask("GET", f"{ENDPOINTS}/{manager.id}")
        listed = await manager.ask("GET", ENDPOINTS)
        rotated = await manager.ask("POST", f"{ENDPOINTS}/{manager.id}/rotate")

        assert "whsec_" not in one.text + listed.text
        assert rotated.headers["cache-control"] == "no-store"


NEVER_CALLED = (
    "",
    "example.org",
    "ftp://example.org/",
    "https://",
    "https://ada:secret@example.org/",
    "https://example.org/#part",
    "https://exam ple.org/",
    "https://example.org/\r\nx: y",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://127.1/",
    "https://[::ffff:10.0.0.1]/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[fe80::1%25eth0]/",
    "https://example.org:99999/",
    "https://" + "a" * 2048,
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "http://\x00",
    "https://\u202eexample.org/",
)


async def test_a_url_that_may_not_be_called_is_422(orion: Orion) -> None:
    """W4, W4c."""
    admin = await orion.admin()

    for url in NEVER_CALLED:
        answer = await orion.http.post(ENDPOINTS, json={"url": url}, headers=admin.headers)

        assert answer.status_code == 422, url
        assert [error["field"] for error in answer.json()["errors"]] == ["url"]


BAD_ENDPOINTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "url"),
    ({"url": 5}, "url"),
    ({"url": "https://example.org/", "event_types": []}, "event_types"),
    ({"url": "https://example.org/", "event_types": ["User.*"]}, "event_types"),
    ({"url": "https://example.org/", "event_types": ["*.registered"]}, "event_types"),
    ({"url": "https://example.org/", "event_types": ["a"] * 51}, "event_types"),
    ({"url": "https://example.org/", "description": "a\x00b"}, "description"),
)


async def test_a_bad_endpoint_is_422_and_names_the_field(orion: Orion) -> None:
    admin = await orion.admin()

    for body, field in BAD_ENDPOINTS:
        answer = await orion.http.post(ENDPOINTS, json=body, headers=admin.headers)

        assert answer.status_code == 422, body
        assert [error["field"].partition(".")[0] for error in answer.json()["errors"]] == [field]


async def test_an_endpoint_can_be_changed_and_removed(orion: Orion) -> None:
    async with managing(orion) as manager:
        path = f"{ENDPOINTS}/{manager.id}"
        change = {"event_types": ["user.*", "user.*"], "description": " ours ", "enabled": False}
        changed = (await manager.ask("PATCH", path, json=change)).json()
        enabled = (await manager.ask("PATCH", path, json={"enabled": True, "description": None})).json()
        removed = await manager.ask("DELETE", path)
        gone = await manager.ask("GET", path)

        assert (changed["event_types"], changed["description"], changed["enabled"]) == (["user.*"], "ours", False)
        assert changed["disabled_reason"] == "disabled by hand"
        assert (enabled["enabled"], enabled["disabled_reason"], enabled["description"]) == (True, "", "")
        assert removed.status_code == 204
        assert (gone.status_code, gone.json()["code"]) == (404, "webhooks.no_such_endpoint")


BAD_CHANGES: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({"url": "https://10.0.0.1/"}, ["url"]),
    ({"url": None}, ["url"]),
    ({"colour": "red", "id": "x"}, ["colour", "id"]),
    ({"enabled": "yes"}, ["enabled"]),
    ({"event_types": ["?"]}, ["event_types"]),
)


async def test_a_bad_change_is_422_and_names_each_field(orion: Orion) -> None:
    """U5, as everywhere."""
    async with managing(orion) as manager:
        for change, fields in BAD_CHANGES:
            answer = await manager.ask("PATCH", f"{ENDPOINTS}/{manager.id}", json=change)

            assert answer.status_code == 422, change
            assert [error["field"] for error in answer.json()["errors"]] == fields


async def test_everything_needs_the_permission(orion: Orion) -> None:
    person = await orion.sign_up()
    webhooks = orion.service(Webhooks)

    for path in (ENDPOINTS, DELIVERIES, f"{ENDPOINTS}/{uuid4()}", f"{DELIVERIES}/{uuid4()}"):
        assert (await orion.http.get(path)).status_code == 401
        assert (await orion.http.get(path, headers=person.headers)).status_code == 403
    with orion.acting_as(person), pytest.raises(Forbidden):
        await webhooks.endpoints("", 50)
    with orion.acting_as(ANONYMOUS), pytest.raises(Unauthenticated):
        await webhooks.create_endpoint(NewEndpoint("https://example.org/"))


async def test_what_is_not_there_is_404(orion: Orion) -> None:
    admin = await orion.admin()
    webhooks, nothing = orion.service(Webhooks), uuid4()

    for method, path in (
        ("GET", f"{ENDPOINTS}/{nothing}"),
        ("DELETE", f"{ENDPOINTS}/{nothing}"),
        ("POST", f"{ENDPOINTS}/{nothing}/rotate"),
        ("POST", f"{ENDPOINTS}/{nothing}/test"),
        ("GET", f"{ENDPOINTS}/{nothing}/attempts"),
        ("GET", f"{DELIVERIES}/{nothing}"),
        ("GET", f"{DELIVERIES}/{nothing}/attempts"),
        ("POST", f"{DELIVERIES}/{nothing}/retry"),
    ):
        assert (await orion.http.request(method, path, headers=admin.headers)).status_code == 404, path
    with orion.acting_as(admin, "webhooks:manage"):
        with pytest.raises(NoSuchEndpoint):
            await webhooks.change_endpoint(nothing, EndpointChange(description="x"))
        with pytest.raises(NoSuchDelivery):
            await webhooks.retry(nothing)


async def test_lists_are_paged(orion: Orion) -> None:
    async with managing(orion) as manager:
        for _ in range(3):
            await manager.test_event()

        first = (await manager.ask("GET", DELIVERIES, params={"endpoint": manager.id, "limit": "2"})).json()
        second = (
            await manager.ask("GET", DELIVERIES, params={"endpoint": manager.id, "cursor": first["next_cursor"]})
        ).json()

        ids = [item["id"] for item in first["items"] + second["items"]]
        assert (len(first["items"]), len(ids), second["next_cursor"]) == (2, 3, None)
        assert ids == sorted(ids, reverse=True)
        assert (await manager.ask("GET", DELIVERIES, params={"cursor": "x"})).status_code == 400
        no_id = await manager.ask("GET", DELIVERIES, params={"endpoint": "x"})
        assert (no_id.status_code, [error["field"] for error in no_id.json()["errors"]]) == (422, ["endpoint"])
        assert (await manager.ask("GET", DELIVERIES, params={"status": "lost"})).status_code == 422
        assert (await manager.ask("GET", DELIVERIES, params={"limit": "201"})).status_code == 422


async def test_the_contract_says_the_same_as_the_routes(orion: Orion) -> None:
    async with managing(orion) as manager:
        await manager.test_event()
        [shown] = await manager.deliveries()
        webhooks = orion.service(Webhooks)

        with orion.acting_as(manager.admin, "webhooks:manage"):
            page = await webhooks.deliveries(UUID(manager.id), "succeeded", "", 50)
            detail = await webhooks.delivery(page.items[0].id)
            await webhooks.change_endpoint(UUID(manager.id), EndpointChange(enabled=False))
            with pytest.raises(EndpointIsDisabled):
                await webhooks.send_test(UUID(manager.id))
            with pytest.raises(Invalid):
                await webhooks.create_endpoint(NewEndpoint("https://192.168.0.1/"))

        assert [str(item.id) for item in page.items] == [shown["id"]]
        assert detail.payload is not None
        assert detail.payload.plain()["data"]["endpoint_id"] == manager.id
