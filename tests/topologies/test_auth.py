"""Accounts, sessions and tokens, as every reach shows them."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import unicodedata
from typing import Any
from uuid import UUID, uuid4

import pytest

from orion_core.context import ANONYMOUS, SYSTEM, Actor
from orion_core.contracts.auth import (
    AUDIENCE,
    Auth,
    EmailTaken,
    InvalidCredentials,
    InvalidGrant,
    Login,
    PasswordTooLong,
    Register,
    SessionStarted,
    UserRegistered,
)
from orion_core.errors import Forbidden, Unauthenticated
from orion_core.testing.engines import until

pytestmark = pytest.mark.reaches("local", "wire", "processes")

AUTH = "/api/v1/auth"
PASSWORD = "correct horse battery staple"


def address() -> str:
    return f"person-{secrets.token_hex(6)}@example.org"


def claims(token: str) -> dict[str, Any]:
    text = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"urn:orion:{document['code']}"
    assert document["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, document["code"]


def fields(answer: Any) -> list[str]:
    return [error["field"] for error in answer.json()["errors"]]


async def test_registering_answers_the_account_and_its_tokens(orion: Any) -> None:
    """A8."""
    email = address()
    answer = await orion.http.post(
        f"{AUTH}/register", json={"email": email.upper(), "password": PASSWORD, "name": "Ada"}
    )

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"user", "access_token", "token_type", "expires_in", "refresh_token"}
    assert set(body["user"]) == {"id", "email"}
    assert (body["user"]["email"], body["token_type"], body["expires_in"]) == (email, "Bearer", 3600)
    [event] = [event for event in await orion.told(UserRegistered) if event.email == email]
    assert (str(event.user_id), event.name) == (body["user"]["id"], "Ada")


async def test_an_access_token_is_a_signed_jwt_without_personal_data(orion: Any) -> None:
    """A15."""
    person = await orion.sign_up()

    header = json.loads(base64.urlsafe_b64decode(person.access_token.split(".")[0] + "=="))
    found = claims(person.access_token)
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    assert header["kid"]
    assert set(found) == {
        "iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "auth_time", "amr", "ver",
    }  # fmt: skip
    assert (found["sub"], found["aud"], found["amr"]) == (str(person.id), AUDIENCE, ["pwd"])
    assert found["exp"] - found["iat"] == 3600


async def test_a_taken_address_is_refused_in_whatever_form_it_is_typed(orion: Any) -> None:
    """A8, U7."""
    local = f"zoë-{secrets.token_hex(6)}"
    await orion.sign_up(email=f"{local}@bücher.example")

    for typed in (
        f"{local}@bücher.example",
        f"{local.upper()}@BÜCHER.EXAMPLE",
        unicodedata.normalize("NFD", f"{local}@bücher.example"),
        f"{local}@xn--bcher-kva.example",
    ):
        answer = await orion.http.post(f"{AUTH}/register", json={"email": typed, "password": PASSWORD})
        assert problem(answer) == (409, "auth.email_taken")


async def test_of_many_registrations_of_one_address_at_once_one_succeeds(orion: Any) -> None:
    """U7."""
    email = address()
    answers = await asyncio.gather(
        *(
            orion.http.post(
                f"{AUTH}/register", json={"email": email.upper() if turn % 2 else email, "password": PASSWORD}
            )
            for turn in range(6)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert len([event for event in await orion.told(UserRegistered) if event.email == email]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"password": PASSWORD}, "email"),
        ({"email": "ada@example.org"}, "password"),
        ({"email": "no address", "password": PASSWORD}, "email"),
        ({"email": "a\u200bda@example.org", "password": PASSWORD}, "email"),
        ({"email": 7, "password": PASSWORD}, "email"),
        ({"email": "ada@example.org", "password": "short"}, "password"),
        ({"email": "ada@example.org", "password": "x" * 1025}, "password"),
        ({"email": "ada@example.org", "password": None}, "password"),
        ({"email": "ada@example.org", "password": PASSWORD, "name": "line\nbreak"}, "name"),
        ({"email": "ada@example.org", "password": PASSWORD, "name": "x" * 201}, "name"),
    ],
)
async def test_a_registration_that_cannot_be_is_refused_naming_the_field(orion: Any, body: Any, field: str) -> None:
    """A3, A4."""
    answer = await orion.http.post(f"{AUTH}/register", json=body)

    assert problem(answer)[0] == 422
    assert fields(answer) == [field]


async def test_what_is_no_json_object_is_refused(orion: Any) -> None:
    """A8."""
    broken = await orion.http.post(f"{AUTH}/login", content=b'{"email":', headers={"content-type": "application/json"})
    listed = await orion.http.post(f"{AUTH}/login", json=["ada@example.org", PASSWORD])

    assert problem(broken) == (400, "malformed")
    assert problem(listed)[0] == 422


async def test_a_password_counts_exactly_as_typed(orion: Any) -> None:
    """A2."""
    typed = " \x00😀" + "ä" * 300 + "é "
    person = await orion.sign_up(password=typed)

    assert (await orion.sign_in(person.email, typed)).id == person.id
    for similar in (typed.strip(), typed[:-1], typed.replace("é", "e\u0301"), typed.replace("\x00", "")):
        answer = await orion.http.post(f"{AUTH}/login", json={"email": person.email, "password": similar})
        assert problem(answer) == (401, "auth.invalid_credentials")


async def test_signing_in_opens_another_session_and_tells_it(orion: Any) -> None:
    """A33."""
    person = await orion.sign_up()
    again = await orion.sign_in(f" {person.email.upper()} ")

    assert again.id == person.id
    sessions = {claims(each.access_token)["sid"] for each in (person, again)}
    told = [event for event in await orion.told(SessionStarted) if event.user_id == person.id]
    assert len(sessions) == 2
    assert {str(event.session_id) for event in told} == sessions
    for each in (person, again):
        assert (await orion.http.get(f"{AUTH}/me", headers=each.headers)).status_code == 200


async def test_every_refused_login_answers_the_same_bytes(orion: Any) -> None:
    """A3, A7."""
    person = await orion.sign_up()
    tries = [
        {"email": person.email, "password": "wrong password"},
        {"email": person.email, "password": "x" * 2000},
        {"email": person.email, "password": ""},
        {"email": address(), "password": PASSWORD},
        {"email": "no address", "password": PASSWORD},
    ]
    seen = set()
    for body in tries:
        answer = await orion.http.post(f"{AUTH}/login", json=body, headers={"x-request-id": "the-same"})
        assert problem(answer) == (401, "auth.invalid_credentials")
        headers = {name: text for name, text in answer.headers.items() if name != "date"}
        seen.add((answer.content, tuple(sorted(headers.items()))))
    assert len(seen) == 1


async def test_me_is_the_callers_account(orion: Any) -> None:
    """A53."""
    person, admin = await orion.sign_up(), await orion.admin()

    mine = await orion.http.get(f"{AUTH}/me", headers=person.headers)
    theirs = await orion.http.get(f"{AUTH}/me", headers=admin.headers)

    assert mine.json() == {
        "id": str(person.id),
        "email": person.email,
        "roles": [],
        "permissions": [],
        "impersonator": None,
    }
    assert (theirs.json()["roles"], theirs.json()["permissions"]) == (["admin"], ["*"])


async def test_without_a_token_that_counts_nobody_is_let_in(orion: Any) -> None:
    """A16."""
    person, other = await orion.sign_up(), await orion.sign_up()
    head, body, signature = person.access_token.split(".")
    stranger = other.access_token.split(".")[1]
    bad: list[Any] = [
        {},
        {"authorization": person.access_token},
        {"authorization": f"Basic {person.access_token}"},
        {"authorization": f"Bearer {person.refresh_token}"},
        {"authorization": f"Bearer {head}.{stranger}.{signature}"},
        {"authorization": f"Bearer {head}.{body}."},
        {"authorization": f"Bearer {person.access_token}="},
        [("authorization", f"Bearer {person.access_token}"), ("authorization", f"Bearer {person.access_token}")],
    ]
    for headers in bad:
        answer = await orion.http.get(f"{AUTH}/me", headers=headers)
        assert problem(answer)[0] == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for name in ("access_token", "token", "authorization"):
        answer = await orion.http.get(f"{AUTH}/me", params={name: person.access_token})
        assert problem(answer)[0] == 401


async def test_a_refresh_token_is_spent_for_a_new_pair(orion: Any) -> None:
    """A21."""
    person = await orion.sign_up()
    answer = await orion.http.post(f"{AUTH}/refresh", json={"refresh_token": person.refresh_token})

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    pair = answer.json()
    assert pair["user"] == {"id": str(person.id), "email": person.email}
    assert pair["refresh_token"] != person.refresh_token
    assert claims(pair["access_token"])["sid"] == claims(person.access_token)["sid"]
    mine = await orion.http.get(f"{AUTH}/me", headers={"authorization": f"Bearer {pair['access_token']}"})
    assert mine.status_code == 200


@pytest.mark.parametrize("token", ["", "garbage", "ort_" + "A" * 43, "ort_" + "ä" * 43])
async def test_every_other_refresh_token_that_does_not_count_is_the_same_refusal(orion: Any, token: str) -> None:
    """A31."""
    answer = await orion.http.post(f"{AUTH}/refresh", json={"refresh_token": token})

    assert problem(answer) == (400, "auth.invalid_grant")
    assert answer.json()["detail"] == "the refresh token does not count: sign in again"


async def test_logging_out_ends_access_everywhere(orion: Any) -> None:
    """A33, A35."""
    person = await orion.sign_up()
    other = await orion.sign_in(person.email)
    await orion.settle()
    assert (await orion.http.get("/api/v1/users/me", headers=person.headers)).status_code == 200

    answer = await orion.http.post(f"{AUTH}/logout", headers=person.headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert problem(await orion.http.get(f"{AUTH}/me", headers=person.headers))[0] == 401

    async def refused() -> bool:
        return (await orion.http.get("/api/v1/users/me", headers=person.headers)).status_code == 401

    await until(refused, "the revocation reaches the other services")
    refresh = await orion.http.post(f"{AUTH}/refresh", json={"refresh_token": person.refresh_token})
    assert problem(refresh) == (400, "auth.invalid_grant")
    assert (await orion.http.get("/api/v1/users/me", headers=other.headers)).status_code == 200


async def test_logging_out_with_the_refresh_token_ends_its_session(orion: Any) -> None:
    """A33."""
    person = await orion.sign_up()

    answer = await orion.http.post(f"{AUTH}/logout", json={"refresh_token": person.refresh_token})

    assert answer.status_code == 204
    assert problem(await orion.http.get(f"{AUTH}/me", headers=person.headers))[0] == 401


async def test_logging_out_never_says_that_there_was_no_session(orion: Any) -> None:
    """A33."""
    person = await orion.sign_up()
    for _ in range(2):
        assert (await orion.http.post(f"{AUTH}/logout", headers=person.headers)).status_code == 204
    for headers in ({}, {"authorization": "Bearer garbage"}):
        assert (await orion.http.post(f"{AUTH}/logout", headers=headers)).status_code == 204
        answer = await orion.http.post(f"{AUTH}/logout", headers=headers, json={"refresh_token": "garbage"})
        assert answer.status_code == 204


async def test_the_public_keys_may_be_kept_and_verify_the_tokens(orion: Any) -> None:
    """A18."""
    person = await orion.sign_up()
    answer = await orion.http.get("/.well-known/jwks.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    kid = json.loads(base64.urlsafe_b64decode(person.access_token.split(".")[0] + "=="))["kid"]
    [key] = [key for key in answer.json()["keys"] if key["kid"] == kid]
    assert set(key) == {"kid", "x", "kty", "crv", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")

    etag = answer.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        same = await orion.http.get("/.well-known/jwks.json", headers={"if-none-match": known})
        assert (same.status_code, same.content) == (304, b"")
        assert (same.headers["etag"], same.headers["cache-control"]) == (etag, "public, max-age=300")
    other = await orion.http.get("/.well-known/jwks.json", headers={"if-none-match": '"other"'})
    assert (other.status_code, other.headers["etag"]) == (200, etag)


async def test_the_contract_raises_its_own_errors_in_every_reach(orion: Any) -> None:
    """A8, A31."""
    auth, email = orion.service(Auth), address()
    with orion.acting_as(ANONYMOUS):
        account = await auth.register(Register(email, PASSWORD))
        with pytest.raises(EmailTaken):
            await auth.register(Register(email.upper(), PASSWORD))
        with pytest.raises(PasswordTooLong) as long:
            await auth.sign_up(Register(address(), "x" * 1025))
        with pytest.raises(InvalidCredentials):
            await auth.login(Login(email, "wrong password"))
        with pytest.raises(InvalidGrant):
            await auth.refresh("garbage")
        with pytest.raises(Unauthenticated):
            await auth.me()
        with pytest.raises(Forbidden):
            await auth.access(uuid4(), 1)
        tokens = await auth.login(Login(email, PASSWORD))
    assert [error.field for error in long.value.errors] == ["password"]
    assert tokens.user == account
    with orion.acting_as(account.id):
        assert (await auth.me()).email == email


async def test_only_services_ask_what_a_session_may_do(orion: Any) -> None:
    """A36."""
    person = await orion.sign_up()
    found = claims(person.access_token)
    with orion.acting_as(Actor("service", "identity")):
        access = await orion.service(Auth).access(UUID(found["sid"]), found["ver"])
        other = await orion.service(Auth).access(UUID(found["sid"]), found["ver"] + 1)
    assert (access.active, other.active) == (True, False)


async def test_an_existing_account_becomes_an_administrator_without_signing_in_again(orion: Any) -> None:
    """A37."""
    person = await orion.sign_up()
    metric = "/api/v1/analytics/metrics/user.registered"
    assert problem(await orion.http.get(metric, headers=person.headers))[0] == 403

    with orion.acting_as(SYSTEM):
        account = await orion.service(Auth).create_admin(Register(person.email, "another password"))

    async def allowed() -> bool:
        return (await orion.http.get(metric, headers=person.headers)).status_code != 403

    assert account.id == person.id
    await until(allowed, "the new role reaches the other services")
    assert (await orion.sign_in(person.email)).id == person.id


async def test_a_person_cannot_make_administrators(orion: Any) -> None:
    """A56."""
    admin = await orion.admin()
    with orion.acting_as(admin.id, "*"), pytest.raises(Forbidden):
        await orion.service(Auth).create_admin(Register(address(), PASSWORD))
