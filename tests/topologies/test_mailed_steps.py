"""Passwords and addresses: what is done by mail, as every reach shows it."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import timedelta
from typing import Any

import pytest

from orion_core.contracts.auth import AccessChanged, SessionRevoked, UserEmailChanged, UserRegistered
from orion_core.testing import Orion, Person
from orion_core.testing.engines import until
from orion_plugins.auth.settings import AuthSettings

EVERYWHERE = pytest.mark.reaches("local", "wire", "processes")
MANY_MAILS = AuthSettings(mails_per_minute=1000, mails_per_hour=1000)
SHOP = "http://127.0.0.1:8443"
pytestmark = pytest.mark.orion(settings={"plugins": {"auth": MANY_MAILS}, "public_url": SHOP})

AUTH = "/api/v1/auth"
NEW = "a quite different secret"
RESET, VERIFY = "password/reset", "email/verify"
CONFIRM, REVERT = "email/change/confirm", "email/change/revert"


def address() -> str:
    return f"person-{secrets.token_hex(6)}@example.org"


def problem(answer: Any) -> tuple[int, str]:
    document = answer.json()
    assert document["status"] == answer.status_code
    return answer.status_code, document["code"]


def fields(answer: Any) -> list[tuple[str, str]]:
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


async def post(orion: Orion, path: str, who: Person | None = None, **body: Any) -> Any:
    return await orion.http.post(f"{AUTH}/{path}", json=body, headers=who.headers if who else {})


async def letters(orion: Orion, to: str) -> list[tuple[str, str, str]]:
    """Subject, text and HTML of all mail to an address, oldest first, when everything is done."""
    await orion.settle()
    found = []
    for mail in await orion.mails(to):
        text, html = (part.get_content() for part in mail.iter_parts())
        found.append((mail["Subject"], text, html))
    return found


async def subjects(orion: Orion, to: str) -> list[str]:
    return [subject for subject, _, _ in await letters(orion, to)]


async def link(orion: Orion, to: str) -> str:
    """The address of the last mailed link."""
    # A welcome may come later than what was asked for right after the registration.
    _, text, html = [letter for letter in await letters(orion, to) if "?token=" in letter[1]][-1]
    [found] = re.findall(r"^(http\S+)$", text, re.MULTILINE)
    assert f'href="{found}"' in html
    return str(found)


async def token(orion: Orion, to: str) -> str:
    return (await link(orion, to)).partition("?token=")[2]


async def code(orion: Orion, to: str) -> str:
    _, text, _ = [letter for letter in await letters(orion, to) if "type this code" in letter[1]][-1]
    [found] = re.findall(r"code within 10 minutes where you were asked for it: ([0-9]{6})$", text, re.MULTILINE)
    return str(found)


async def works(orion: Orion, headers: dict[str, str]) -> bool:
    return (await orion.http.get(f"{AUTH}/me", headers=headers)).status_code == 200


async def signs_in(orion: Orion, email: str, password: str) -> bool:
    return (await post(orion, "login", email=email, password=password)).status_code == 200


async def refreshes(orion: Orion, person: Person) -> bool:
    return (await post(orion, "refresh", refresh_token=person.refresh_token)).status_code == 200


# Changing a password


@EVERYWHERE
async def test_changing_the_password_ends_the_other_sessions_at_once(orion: Orion) -> None:
    """A34."""
    person = await orion.sign_up()
    other = await orion.sign_in(person.email)

    answer = await post(orion, "password/change", person, current_password=person.password, new_password=NEW)

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert set(answer.json()) == {"access_token", "token_type", "expires_in"}
    assert not await works(orion, other.headers)
    assert not await refreshes(orion, other)
    # The tokens that were issued before count no more, the session goes on.
    assert not await works(orion, person.headers)
    assert await works(orion, {"authorization": f"Bearer {answer.json()['access_token']}"})
    assert await refreshes(orion, person)
    assert not await signs_in(orion, person.email, person.password)
    assert await signs_in(orion, person.email, NEW)
    assert "Your password for ORION was changed" in await subjects(orion, person.email)
    told = [event for event in await orion.told(SessionRevoked) if event.user_id == person.id]
    assert [event.reason for event in told] == ["password_changed"]
    assert person.id in {event.user_id for event in await orion.told(AccessChanged)}


@EVERYWHERE
async def test_other_services_refuse_the_old_tokens_too(orion: Orion) -> None:
    """A34, A35."""
    person = await orion.sign_up()
    await orion.settle()
    mine = "/api/v1/users/me"
    assert (await orion.http.get(mine, headers=person.headers)).status_code == 200

    answer = await post(orion, "password/change", person, current_password=person.password, new_password=NEW)

    async def refused() -> bool:
        return (await orion.http.get(mine, headers=person.headers)).status_code == 401

    await until(refused, "the change reaches the other services")
    fresh = {"authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await orion.http.get(mine, headers=fresh)).status_code == 200


@EVERYWHERE
@pytest.mark.parametrize(
    ("current", "new", "wrong"),
    [
        ("wrong password", NEW, ("current_password", "wrong")),
        ("", NEW, ("current_password", "wrong")),
        (None, "short", ("new_password", "too_short")),
        (None, "password1", ("new_password", "common")),
        (None, "my orion password", ("new_password", "context_word")),
        (None, "x" * 1025, ("new_password", "too_long")),
        (None, 7, ("new_password", "type")),
    ],
)
async def test_a_change_that_cannot_be_names_the_field_and_changes_nothing(
    orion: Orion, current: str | None, new: Any, wrong: tuple[str, str]
) -> None:
    """A3, A4."""
    person = await orion.sign_up()

    answer = await post(
        orion,
        "password/change",
        person,
        current_password=person.password if current is None else current,
        new_password=new,
    )

    assert problem(answer)[0] == 422
    assert fields(answer) == [wrong]
    assert await works(orion, person.headers)
    assert await signs_in(orion, person.email, person.password)


@EVERYWHERE
async def test_nobody_changes_a_password_without_signing_in(orion: Orion) -> None:
    """A53."""
    for path in ("password/change", "email/change"):
        assert problem(await post(orion, path, current_password="x", new_password=NEW))[0] == 401


@EVERYWHERE
async def test_a_password_that_holds_the_own_address_is_refused_from_the_start(orion: Orion) -> None:
    """A4."""
    email = address()
    local = email.partition("@")[0]

    answer = await post(orion, "register", email=email, password=f"it is {local.upper()}!")

    assert problem(answer) == (422, "auth.password_refused")
    assert fields(answer) == [("password", "context_word")]


# Resetting a password


@EVERYWHERE
async def test_a_forgotten_password_is_reset_by_mail(orion: Orion) -> None:
    """A34, A44, A47."""
    person = await orion.sign_up()
    assert (await post(orion, "password/forgot", email=person.email.upper())).status_code == 202

    answer = await post(orion, RESET, token=await token(orion, person.email), new_password=NEW)

    assert (answer.status_code, answer.json()) == (200, {"redirect_to": ""})
    assert "set-cookie" not in answer.headers
    assert not await works(orion, person.headers)
    assert not await refreshes(orion, person)
    assert not await signs_in(orion, person.email, person.password)
    assert await signs_in(orion, person.email, NEW)
    assert "Your password for ORION was changed" in await subjects(orion, person.email)


@EVERYWHERE
async def test_looking_at_a_mailed_link_uses_nothing_up(orion: Orion) -> None:
    """A45: mail scanners open links."""
    person = await orion.sign_up()
    await post(orion, "password/forgot", email=person.email)
    secret = await token(orion, person.email)

    for _ in range(3):
        page = await orion.http.get(f"{AUTH}/{RESET}", params={"token": secret})
        look = await orion.http.head(f"{AUTH}/{RESET}", params={"token": secret})
        assert (page.status_code, look.status_code, look.content) == (200, 200, b"")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script" not in page.text
        assert re.findall(r"(?:src|href)=", page.text) == []
        assert secret in page.text

    assert (await post(orion, RESET, token=secret, new_password=NEW)).status_code == 200


@EVERYWHERE
async def test_the_form_of_the_page_resets_the_password_and_says_what_is_wrong(orion: Orion) -> None:
    """A45."""
    person = await orion.sign_up()
    await post(orion, "password/forgot", email=person.email)
    secret = await token(orion, person.email)
    page = await orion.http.get(f"{AUTH}/{RESET}", params={"token": secret})
    action = page.url.join(re.findall(r"action='([^']+)'", page.text)[0])

    common = await orion.http.post(action, data={"token": secret, "new_password": "password1"})
    again = common.url.join(re.findall(r"action='([^']+)'", common.text)[0])
    done = await orion.http.post(again, data={"token": secret, "new_password": NEW})
    spent = await orion.http.post(again, data={"token": secret, "new_password": NEW + NEW})

    assert (common.status_code, done.status_code, spent.status_code) == (422, 200, 422)
    assert "The password is one of the most common passwords" in common.text
    assert "Your password was changed" in done.text
    assert "The link does not count any more" in spent.text
    assert NEW not in common.text + done.text + spent.text
    assert await signs_in(orion, person.email, NEW)


@EVERYWHERE
async def test_what_a_stranger_puts_into_a_link_stays_text(orion: Orion) -> None:
    """A45."""
    page = await orion.http.get(f"{AUTH}/{RESET}", params={"token": "'><script>alert(1)</script>"})

    assert page.status_code == 200
    assert "<script" not in page.text
    assert (await orion.http.get(f"{AUTH}/{RESET}", params={"token": "x" * 129})).status_code in (400, 422)


@EVERYWHERE
async def test_two_browsers_at_once_reset_once(orion: Orion) -> None:
    """A44."""
    person = await orion.sign_up()
    await post(orion, "password/forgot", email=person.email)
    secret = await token(orion, person.email)

    answers = await asyncio.gather(
        *(post(orion, RESET, token=secret, new_password=f"{NEW} {turn}") for turn in range(6))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 5
    assert {problem(answer)[1] for answer in answers if answer.status_code == 422} == {"auth.invalid_token"}


@EVERYWHERE
async def test_only_the_newest_link_counts(orion: Orion) -> None:
    """A44."""
    person = await orion.sign_up()
    await post(orion, "password/forgot", email=person.email)
    old = await token(orion, person.email)
    await post(orion, "password/forgot", email=person.email)
    new = await token(orion, person.email)

    assert problem(await post(orion, RESET, token=old, new_password=NEW)) == (422, "auth.invalid_token")
    assert (await post(orion, RESET, token=new, new_password=NEW)).status_code == 200


@EVERYWHERE
@pytest.mark.parametrize("what", ["login", "change", "reset"])
async def test_signing_in_and_changing_the_password_end_a_reset_in_progress(orion: Orion, what: str) -> None:
    """A34, A44."""
    person = await orion.sign_up()
    await post(orion, "password/forgot", email=person.email)
    secret = await token(orion, person.email)
    match what:
        case "login":
            await orion.sign_in(person.email)
        case "change":
            await post(orion, "password/change", person, current_password=person.password, new_password=NEW)
        case "reset":
            await post(orion, RESET, token=secret, new_password=NEW)

    answer = await post(orion, RESET, token=secret, new_password="yet another one")

    assert problem(answer) == (422, "auth.invalid_token")
    assert fields(answer) == [("token", "invalid")]
    assert not await signs_in(orion, person.email, "yet another one")


@pytest.mark.reaches("local", "wire")
async def test_a_reset_link_lives_thirty_minutes(orion: Orion) -> None:
    """A44."""
    people = [await orion.sign_up() for _ in range(2)]
    for person in people:
        await post(orion, "password/forgot", email=person.email)
    first, second = [await token(orion, person.email) for person in people]
    await orion.advance(timedelta(minutes=29))
    assert (await post(orion, RESET, token=first, new_password=NEW)).status_code == 200
    await orion.advance(timedelta(minutes=1))
    assert problem(await post(orion, RESET, token=second, new_password=NEW)) == (422, "auth.invalid_token")


@EVERYWHERE
@pytest.mark.parametrize("path", ["password/forgot", "email/verify/resend"])
async def test_asking_for_mail_never_tells_whether_there_is_an_account(orion: Orion, path: str) -> None:
    """A8."""
    person, nobody = await orion.sign_up(), address()

    known, unknown = [
        await orion.http.post(f"{AUTH}/{path}", json={"email": email}, headers={"x-request-id": "the-same"})
        for email in (person.email, nobody)
    ]

    assert shape(known) == shape(unknown)
    assert len(await letters(orion, person.email)) == 2
    assert await letters(orion, nobody) == []


def shape(answer: Any) -> tuple[Any, ...]:
    """An answer without what is random and the time."""
    headers = {name: text for name, text in answer.headers.items() if name != "date"}
    body = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", answer.text)
    return answer.status_code, body, tuple(sorted(headers.items()))


@pytest.mark.reaches("local", "wire")
async def test_links_in_mail_begin_with_the_configured_address(orion: Orion) -> None:
    """A48."""
    person = await orion.sign_up()
    for headers in ({}, {"host": "evil.example"}, {"x-forwarded-host": "evil.example", "x-forwarded-proto": "http"}):
        answer = await orion.http.post(f"{AUTH}/password/forgot", json={"email": person.email}, headers=headers)
        assert answer.status_code == 202
        assert (await link(orion, person.email)).startswith(f"{SHOP}{AUTH}/{RESET}?token=omt_")
    assert "evil" not in repr(await letters(orion, person.email))


# Verifying an address


@EVERYWHERE
@pytest.mark.parametrize("by", ["token", "code", "form"])
async def test_an_address_is_verified_by_link_by_code_and_by_the_page(orion: Orion, by: str) -> None:
    """A45, A49."""
    person = await orion.sign_up()
    asked = await post(orion, "email/verify/resend", email=person.email)
    secret = await token(orion, person.email)
    page = await orion.http.get(f"{AUTH}/{VERIFY}", params={"token": secret})

    match by:
        case "token":
            answer = await post(orion, VERIFY, token=secret)
        case "code":
            answer = await post(orion, VERIFY, flow_id=asked.json()["flow_id"], code=await code(orion, person.email))
        case _:
            answer = await orion.http.post(page.url.join("verify/form"), data={"token": secret})

    assert (page.status_code, answer.status_code) == (200, 200)
    if by != "form":
        assert answer.json() == {"email": person.email, "redirect_to": ""}
    # Verified once, there is nothing to mail any more.
    await post(orion, "email/verify/resend", email=person.email)
    assert len(await letters(orion, person.email)) == 2
    assert problem(await post(orion, VERIFY, token=secret)) == (422, "auth.invalid_token")


@EVERYWHERE
async def test_a_code_is_tried_five_times_and_counts_with_its_flow_only(orion: Orion) -> None:
    """A49."""
    ada, grace = await orion.sign_up(), await orion.sign_up()
    flows = [(await post(orion, "email/verify/resend", email=each.email)).json()["flow_id"] for each in (ada, grace)]
    mine, other = await code(orion, ada.email), await code(orion, grace.email)
    wrong = f"{(int(mine) + 1) % 10**6:06}"

    if mine != other:
        assert problem(await post(orion, VERIFY, flow_id=flows[0], code=other)) == (422, "auth.invalid_code")
    answers = await asyncio.gather(*(post(orion, VERIFY, flow_id=flows[0], code=wrong) for _ in range(20)))
    assert {problem(answer) for answer in answers} == {(422, "auth.invalid_code")}
    late = await post(orion, VERIFY, flow_id=flows[0], code=mine)
    assert (problem(late), fields(late)) == ((422, "auth.invalid_code"), [("code", "invalid")])
    assert (await post(orion, VERIFY, flow_id=flows[1], code=other)).status_code == 200
    assert problem(await post(orion, VERIFY, flow_id=flows[1], code=other)) == (422, "auth.invalid_code")


@EVERYWHERE
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": ""},
        {"token": "x", "flow_id": "01a21500-3fec-7443-9a8d-ec2912ddef4c", "code": "123456"},
        {"flow_id": "01a21500-3fec-7443-9a8d-ec2912ddef4c"},
        {"flow_id": "01a21500-3fec-7443-9a8d-ec2912ddef4c", "code": "12345"},
        {"flow_id": "01a21500-3fec-7443-9a8d-ec2912ddef4c", "code": "1234567"},
        {"flow_id": "01a21500-3fec-7443-9a8d-ec2912ddef4c", "code": "\u0661\u0662\u0663\u0664\u0665\u0666"},
        {"flow_id": "no id", "code": "123456"},
        {"token": "omt_" + "A" * 43},
        {"token": "omt_" + "\u00e4" * 43},
    ],
)
async def test_what_is_no_proof_is_refused(orion: Orion, body: dict[str, str]) -> None:
    """A46, A49."""
    assert problem(await post(orion, VERIFY, **body))[0] == 422


@pytest.mark.reaches("local", "wire")
async def test_a_code_lives_ten_minutes_and_its_link_a_day(orion: Orion) -> None:
    """A49."""
    person = await orion.sign_up()
    flow = (await post(orion, "email/verify/resend", email=person.email)).json()["flow_id"]
    digits, secret = await code(orion, person.email), await token(orion, person.email)
    await orion.advance(timedelta(minutes=10))

    assert problem(await post(orion, VERIFY, flow_id=flow, code=digits)) == (422, "auth.invalid_code")
    assert (await post(orion, VERIFY, token=secret)).status_code == 200


# Another address


@EVERYWHERE
async def test_an_address_changes_when_the_old_and_the_new_one_agree(orion: Orion) -> None:
    """A34, A50."""
    person, new = await orion.sign_up(), address()
    other = await orion.sign_in(person.email)
    await post(orion, "password/forgot", email=person.email)
    forgotten = await token(orion, person.email)
    asked = await post(orion, "email/change", person, new_email=new, password=person.password)
    consent, confirmation = await token(orion, person.email), await token(orion, new)
    assert asked.status_code == 202
    assert new in "".join(text for _, text, _ in await letters(orion, person.email))

    half = await post(orion, CONFIRM, token=consent)
    twice = await post(orion, CONFIRM, token=consent)
    assert (half.status_code, half.json()) == (200, {"changed": False, "redirect_to": ""})
    assert problem(twice) == (422, "auth.invalid_token")
    assert await works(orion, person.headers)
    whole = await post(orion, CONFIRM, token=confirmation)
    assert whole.json() == {"changed": True, "redirect_to": ""}

    assert not await works(orion, other.headers)
    assert not await refreshes(orion, other)
    assert not await works(orion, person.headers)
    assert await refreshes(orion, person)
    assert problem(await post(orion, RESET, token=forgotten, new_password=NEW)) == (422, "auth.invalid_token")
    assert not await signs_in(orion, person.email, person.password)
    again = await orion.sign_in(new)
    assert again.id == person.id
    [event] = [event for event in await orion.told(UserEmailChanged) if event.user_id == person.id]
    assert (event.email, event.version) == (new, 2)
    await orion.settle()
    profile = await orion.http.get("/api/v1/users/me", headers=again.headers)
    assert profile.json()["email"] == new
    assert "The address of your account at ORION was changed" in await subjects(orion, person.email)


@EVERYWHERE
async def test_the_old_address_takes_the_account_back(orion: Orion) -> None:
    """A50."""
    person, new = await orion.sign_up(), address()
    await post(orion, "email/change", person, new_email=new, password=person.password)
    for secret in (await token(orion, new), await token(orion, person.email)):
        await post(orion, CONFIRM, token=secret)
    back = await link(orion, person.email)
    thief = await orion.sign_in(new)
    # Whoever took the account over would change the password too.
    await post(orion, "password/change", thief, current_password=person.password, new_password=NEW)
    page = await orion.http.get(f"{AUTH}/{REVERT}", params={"token": back.partition("=")[2]})
    assert page.status_code == 200

    answer = await post(orion, REVERT, token=back.partition("=")[2])

    assert answer.status_code == 200
    assert not await refreshes(orion, thief)
    assert not await signs_in(orion, new, NEW)
    assert not await signs_in(orion, person.email, NEW)
    done = await post(orion, RESET, token=await token(orion, person.email), new_password="mine for good")
    assert done.status_code == 200
    assert (await orion.sign_in(person.email, "mine for good")).id == person.id
    assert problem(await post(orion, REVERT, token=back.partition("=")[2])) == (422, "auth.invalid_token")


@EVERYWHERE
async def test_a_change_to_a_taken_address_is_told_to_its_owner_only(orion: Orion) -> None:
    """A8, A50."""
    person, owner = await orion.sign_up(), await orion.sign_up()

    taken = await post(orion, "email/change", person, new_email=owner.email.upper(), password=person.password)
    free = await post(orion, "email/change", person, new_email=address(), password=person.password)

    assert (taken.status_code, taken.content) == (free.status_code, free.content) == (202, b"")
    [text] = [text for subject, text, _ in await letters(orion, owner.email) if subject == "Your account at ORION"]
    assert "http" not in text
    assert await signs_in(orion, owner.email, owner.password)


@EVERYWHERE
@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"new_email": "new@example.org", "password": "wrong password"}, ("password", "wrong")),
        ({"new_email": "no address"}, ("new_email", "email")),
        ({"new_email": "a\u200bda@example.org"}, ("new_email", "email")),
        ({"new_email": "new@example.org", "redirect_to": "https://evil.example"}, ("redirect_to", "not_allowed")),
    ],
)
async def test_a_change_of_address_that_cannot_be_names_the_field(
    orion: Orion, body: dict[str, str], wrong: tuple[str, str]
) -> None:
    """A43, A50."""
    person = await orion.sign_up()

    answer = await post(orion, "email/change", person, **{"password": person.password, **body})

    assert problem(answer)[0] == 422
    assert fields(answer) == [wrong]


# Registrations that wait for their address


VERIFIED = pytest.mark.orion(
    settings={
        "plugins": {
            "auth": AuthSettings(
                registration="verified",
                mails_per_minute=1000,
                mails_per_hour=1000,
                redirects=("https://app.example/welcome",),
            ),
        },
        "public_url": SHOP,
    }
)


@VERIFIED
@pytest.mark.reaches("local", "wire")
@pytest.mark.parametrize("by", ["token", "code"])
async def test_a_registration_opens_an_account_when_its_address_is_verified(orion: Orion, by: str) -> None:
    """A8."""
    email, password = address(), "correct horse battery staple"
    asked = await post(orion, "register", email=email, password=password, name="Ada")
    assert (asked.status_code, set(asked.json())) == (202, {"flow_id"})
    assert not await signs_in(orion, email, password)
    assert await orion.told(UserRegistered) == []

    if by == "token":
        answer = await post(orion, VERIFY, token=await token(orion, email))
    else:
        answer = await post(orion, VERIFY, flow_id=asked.json()["flow_id"], code=await code(orion, email))

    assert (answer.status_code, answer.json()["email"]) == (200, email)
    person = await orion.sign_in(email, password)
    [event] = await orion.told(UserRegistered)
    assert (event.user_id, event.email, event.name) == (person.id, email, "Ada")


@VERIFIED
@pytest.mark.reaches("local", "wire")
async def test_a_new_and_a_taken_address_get_the_same_answer(orion: Orion) -> None:
    """A8."""
    taken, new = address(), address()
    await post(orion, "register", email=taken, password="correct horse battery")
    await post(orion, VERIFY, token=await token(orion, taken))

    answers = [
        await orion.http.post(
            f"{AUTH}/register", json={"email": each, "password": NEW}, headers={"x-request-id": "the-same"}
        )
        for each in (taken, new)
    ]

    assert shape(answers[0]) == shape(answers[1])
    assert "Your account at ORION" in await subjects(orion, taken)
    assert await subjects(orion, new) == ["Confirm your address for ORION"]
    assert await signs_in(orion, taken, "correct horse battery")
    assert not await signs_in(orion, taken, NEW)


@VERIFIED
@pytest.mark.reaches("local", "wire")
async def test_nobody_prepares_an_account_for_somebody_elses_address(orion: Orion) -> None:
    """A8, A49: two registrations of one address have nothing to do with each other."""
    email, mine = address(), "correct horse battery"
    asked = await post(orion, "register", email=email, password=mine)
    await post(orion, "register", email=email, password="prepared by a thief")
    flow = asked.json()["flow_id"]

    again = await post(orion, "email/verify/resend", email=email, flow_id=flow)
    answer = await post(orion, VERIFY, flow_id=again.json()["flow_id"], code=await code(orion, email))

    assert answer.status_code == 200
    assert await signs_in(orion, email, mine)
    assert not await signs_in(orion, email, "prepared by a thief")
    # Without the id of the registration there is nothing to send again.
    sent = len(await letters(orion, email))
    await post(orion, "email/verify/resend", email=email)
    assert len(await letters(orion, email)) == sent


@VERIFIED
@pytest.mark.reaches("local", "wire")
async def test_the_last_page_leads_only_to_where_the_settings_say(orion: Orion) -> None:
    """A43."""
    body = {"email": address(), "password": "correct horse battery"}
    refused = await post(orion, "register", **body, redirect_to="https://app.example/welcomes")
    assert fields(refused) == [("redirect_to", "not_allowed")]
    asked = await post(orion, "password/forgot", email=body["email"], redirect_to="https://evil.example")
    assert fields(asked) == [("redirect_to", "not_allowed")]

    await post(orion, "register", **body, redirect_to="https://app.example/welcome?new=1&x='")
    form = f"{AUTH}/{VERIFY}/form"
    done = await orion.http.post(form, data={"token": await token(orion, body["email"])})

    assert done.status_code == 200
    assert "<a href='https://app.example/welcome?new=1&amp;x=&#x27;'>Continue</a>" in done.text


# Limits, as the settings have them from the start


@pytest.mark.orion
@pytest.mark.reaches("local", "wire")
async def test_too_much_mail_answers_when_to_ask_again(orion: Orion) -> None:
    """A51."""
    person = await orion.sign_up()
    first = await post(orion, "password/forgot", email=person.email)
    second = await post(orion, "email/verify/resend", email=address())

    assert first.status_code == 202
    assert problem(second) == (429, "auth.too_many_mails")
    assert 1 <= int(second.headers["retry-after"]) <= 60
    await orion.advance(timedelta(minutes=1))
    assert (await post(orion, "password/forgot", email=person.email)).status_code == 202


@pytest.mark.orion(settings={"plugins": {"auth": AuthSettings(failures_per_address=8)}})
@pytest.mark.reaches("local", "wire")
async def test_only_a_network_address_that_waits_is_told_so(orion: Orion) -> None:
    """A9, A11."""
    person = await orion.sign_up()
    tries = [await post(orion, "login", email=person.email, password="wrong password") for _ in range(6)]
    others = [await post(orion, "login", email=address(), password="wrong password") for _ in range(8)]

    assert {problem(each) for each in tries} == {(401, "auth.invalid_credentials")}
    assert not any("retry-after" in each.headers for each in tries)
    assert problem(others[-1]) == (429, "auth.too_many_attempts")
    assert int(others[-1].headers["retry-after"]) >= 1
    assert await works(orion, person.headers)
