"""Notices and mails, as every reach shows them."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from orion_core.contracts.notifications import Notifications, NotificationSent
from orion_core.errors import Malformed, Unauthenticated
from orion_core.testing import Orion, Person

pytestmark = pytest.mark.reaches("local", "wire", "processes")

PATH = "/api/v1/notifications"


async def welcomed(orion: Orion, **given: str) -> Person:
    person = await orion.sign_up(**given)
    await orion.settle()
    return person


async def test_a_registered_person_is_welcomed_by_one_notice(orion: Orion) -> None:
    """N1."""
    person = await welcomed(orion, name="Ada")

    answer = await orion.http.get(PATH, headers=person.headers)

    assert answer.status_code == 200
    assert answer.json()["next_cursor"] is None
    [notice] = answer.json()["items"]
    assert set(notice) == {"id", "type", "title", "body", "created_at", "read_at"}
    assert (notice["type"], notice["read_at"]) == ("user.welcome", None)
    assert "Welcome" in notice["title"]
    assert "Ada" in notice["body"]


async def test_a_registered_person_gets_one_mail_in_text_and_html(orion: Orion) -> None:
    """N1, N5."""
    person = await welcomed(orion, name="Ada")

    [mail] = await orion.mails(person.email)

    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert "Welcome" in mail["Subject"]
    for part in mail.iter_parts():
        assert "Hello Ada" in part.get_content()
        assert person.email in part.get_content()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["From"]
    assert mail["Date"].datetime.tzinfo is not None
    assert mail["Message-ID"].startswith("<")


async def test_two_people_get_mails_of_their_own(orion: Orion) -> None:
    """N1."""
    ada, grace = await welcomed(orion, name="Ada"), await welcomed(orion, name="Grace")

    [first], [second] = await orion.mails(ada.email), await orion.mails(grace.email)

    assert first["Message-ID"] != second["Message-ID"]
    assert "Grace" not in first.as_string()
    assert "Ada" not in second.as_string()


async def test_markup_in_a_name_stays_text_in_mail(orion: Orion) -> None:
    """N5."""
    person = await welcomed(orion, name="<img src=x> & $product ${x}")

    [mail] = await orion.mails(person.email)

    text, html = (part.get_content() for part in mail.iter_parts())
    assert "Hello <img src=x> & $product ${x}," in text
    assert "Hello &lt;img src=x&gt; &amp; $product ${x}," in html
    assert "<img" not in html


async def test_names_outside_ascii_arrive_unharmed(orion: Orion) -> None:
    """N5."""
    person = await welcomed(orion, name="\u00c5sa \u4f60\u597d \U0001f600")

    [mail] = await orion.mails(person.email)

    assert all("Hello \u00c5sa \u4f60\u597d \U0001f600," in part.get_content() for part in mail.iter_parts())


async def test_somebody_without_a_name_is_greeted_too(orion: Orion) -> None:
    person = await welcomed(orion, name="")

    [mail] = await orion.mails(person.email)

    assert all("Hello," in part.get_content() for part in mail.iter_parts())


async def test_the_request_that_led_to_a_mail_can_be_found_from_it(orion: Orion) -> None:
    """E9, N10."""
    request_id = f"req-{uuid4().hex}"
    email = f"{uuid4().hex}@x.org"

    answer = await orion.http.post(
        "/api/v1/auth/register",
        json={"email": email, "password": "correct horse battery"},
        headers={"x-request-id": request_id},
    )
    await orion.settle()

    assert answer.status_code == 201
    [mail] = await orion.mails(email)
    assert mail["X-Correlation-ID"] == request_id


async def test_a_sent_mail_is_told(orion: Orion) -> None:
    """N10."""
    person = await welcomed(orion)
    [notice] = (await orion.http.get(PATH, headers=person.headers)).json()["items"]

    told = [event for event in await orion.told(NotificationSent) if event.user_id == person.id]

    assert [(str(event.notification_id), event.type, event.channel) for event in told] == [
        (notice["id"], "user.welcome", "email")
    ]


async def test_notices_are_seen_by_their_person_alone(orion: Orion) -> None:
    person, other = await welcomed(orion), await welcomed(orion)

    mine = (await orion.http.get(PATH, headers=person.headers)).json()["items"]
    theirs = (await orion.http.get(PATH, headers=other.headers)).json()["items"]

    assert len(mine) == len(theirs) == 1
    assert mine[0]["id"] != theirs[0]["id"]
    assert (await orion.http.get(PATH)).status_code == 401


async def test_a_cursor_after_the_last_notice_gives_an_empty_page(orion: Orion) -> None:
    person = await welcomed(orion)
    first = (await orion.http.get(PATH, params={"limit": 1}, headers=person.headers)).json()
    [notice] = first["items"]
    cursor = base64.urlsafe_b64encode(bytes.fromhex(notice["id"].replace("-", ""))).decode().rstrip("=")

    after = await orion.http.get(PATH, params={"cursor": cursor}, headers=person.headers)

    assert first["next_cursor"] is None
    assert after.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    "cursor", ["x", "' OR 1=1 --", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 22 + "==", "\u00e4" * 22]
)
async def test_a_cursor_from_elsewhere_is_400(orion: Orion, cursor: str) -> None:
    person = await orion.sign_up()

    answer = await orion.http.get(PATH, params={"cursor": cursor}, headers=person.headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert [error["field"] for error in answer.json()["errors"]] == ["cursor"]


@pytest.mark.parametrize(("limit", "status"), [("0", 422), ("201", 422), ("-1", 422), ("many", 400), ("", 400)])
async def test_a_limit_out_of_range_is_422_and_one_that_is_no_number_400(orion: Orion, limit: str, status: int) -> None:
    person = await orion.sign_up()

    answer = await orion.http.get(PATH, params={"limit": limit}, headers=person.headers)

    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == ["limit"]


async def test_the_contract_says_the_same_as_the_route(orion: Orion) -> None:
    person = await welcomed(orion)
    shown = (await orion.http.get(PATH, headers=person.headers)).json()
    notifications = orion.service(Notifications)

    with orion.acting_as(person.id):
        page = await notifications.mine("", 50)
        with pytest.raises(Malformed):
            await notifications.mine("x", 50)
    with pytest.raises(Unauthenticated):
        await notifications.mine("", 50)

    assert [str(notice.id) for notice in page.items] == [notice["id"] for notice in shown["items"]]
    assert page.next_cursor is None
