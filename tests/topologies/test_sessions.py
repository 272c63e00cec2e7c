"""Sessions, retries and reuse of refresh tokens, and cookies, as every reach shows them."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from orion_core.contracts.auth import Auth, RefreshReuseDetected, SessionRevoked
from orion_core.contracts.auth_sessions import NoSuchSession
from orion_core.errors import Forbidden
from orion_core.testing import InProcess, Person
from orion_core.testing.engines import until
from orion_core.testing.processes import Processes

pytestmark = pytest.mark.reaches("local", "wire", "processes")

AUTH = "/api/v1/auth"
USERS = "/api/v1/users/me"
COOKIE = "__Host-orion_session"
MODE = {"x-orion-session": "cookie"}


def sid(access_token: str) -> str:
    text = access_token.split(".")[1]
    found: str = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))["sid"]
    return found


def bearer(access_token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {access_token}"}


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def refresh(orion: Any, token: str, **more: Any) -> Any:
    return await orion.http.post(f"{AUTH}/refresh", json={"refresh_token": token}, **more)


async def listed(orion: Any, person: Person) -> list[dict[str, Any]]:
    answer = await orion.http.get(f"{AUTH}/sessions", headers=person.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def signed_out_everywhere(orion: Any, *people: Person) -> None:
    """Wait until these access tokens are refused by auth and by another service."""

    async def refused() -> bool:
        answers = [
            await orion.http.get(path, headers=person.headers) for person in people for path in (f"{AUTH}/me", USERS)
        ]
        return {answer.status_code for answer in answers} == {401}

    await until(refused, "the revocation reaches every service")
    for person in people:
        assert problem(await refresh(orion, person.refresh_token)) == (400, "auth.invalid_grant")


async def window_passes(orion: Any, session_id: str) -> None:
    """The grace window of what was spent in the session is over."""
    if isinstance(orion, Processes):
        # Their clocks are the machine's, so what happened is moved into the past.
        moved = "UPDATE refresh_tokens SET used_at = used_at - interval '10 seconds' WHERE session_id = $1"
        await orion.rows("auth", moved, UUID(session_id))
    else:
        await orion.advance(timedelta(seconds=10))


# Lists


async def test_somebody_sees_where_they_are_signed_in(orion: Any) -> None:
    """A32."""
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    first = await orion.sign_up()
    body = {"email": first.email, "password": first.password}
    answer = await orion.http.post(f"{AUTH}/login", json=body, headers={"user-agent": agent})

    there, here = await listed(orion, first)

    assert set(here) == {
        "id", "current", "client", "device", "ip_address", "user_agent", "amr", "created_at", "last_used_at",
        "idle_expires_at", "expires_at",
    }  # fmt: skip
    assert (here["id"], here["current"]) == (sid(first.access_token), True)
    assert (there["id"], there["current"]) == (sid(answer.json()["access_token"]), False)
    assert (there["device"], there["user_agent"], there["amr"]) == ("Firefox on Linux", agent, ["pwd"])
    assert there["ip_address"]


async def test_sessions_come_in_pages(orion: Any) -> None:
    """A32."""
    person = await orion.sign_up()
    for _ in range(2):
        await orion.sign_in(person.email)
    seen, cursor = [], ""
    while cursor is not None:
        answer = await orion.http.get(f"{AUTH}/sessions", params={"cursor": cursor, "limit": 2}, headers=person.headers)
        seen += [item["id"] for item in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]

    assert len(set(seen)) == len(seen) == 3
    for field, given, status in (("cursor", "x", 400), ("limit", "0", 422), ("limit", "201", 422)):
        answer = await orion.http.get(f"{AUTH}/sessions", params={field: given}, headers=person.headers)
        assert problem(answer)[0] == status
        assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("method", ["get", "delete"])
async def test_nobody_sees_or_ends_sessions_without_signing_in(orion: Any, method: str) -> None:
    """A53."""
    person = await orion.sign_up()
    for path in ("sessions", f"admin/users/{person.id}/sessions"):
        assert problem(await orion.http.request(method, f"{AUTH}/{path}"))[0] == 401
    for path in (f"sessions/{sid(person.access_token)}", f"admin/users/{person.id}/sessions/{uuid4()}"):
        assert problem(await orion.http.delete(f"{AUTH}/{path}"))[0] == 401
    assert problem(await orion.http.post(f"{AUTH}/sessions/revoke-others"))[0] == 401


# Ending them


async def test_one_session_is_ended_everywhere(orion: Any) -> None:
    """A32, A35."""
    here = await orion.sign_up()
    there = await orion.sign_in(here.email)
    await orion.settle()
    assert (await orion.http.get(USERS, headers=there.headers)).status_code == 200

    for _ in range(2):
        answer = await orion.http.delete(f"{AUTH}/sessions/{sid(there.access_token)}", headers=here.headers)
        assert (answer.status_code, answer.content) == (204, b"")

    await signed_out_everywhere(orion, there)
    assert [item["id"] for item in await listed(orion, here)] == [sid(here.access_token)]
    revoked = [event for event in await orion.told(SessionRevoked) if event.user_id == here.id]
    assert [(str(event.session_id), event.reason) for event in revoked] == [(sid(there.access_token), "ended_by_owner")]


async def test_all_other_sessions_or_all_are_ended(orion: Any) -> None:
    """A32, A34."""
    first = await orion.sign_up()
    here, last = await orion.sign_in(first.email), await orion.sign_in(first.email)
    stranger = await orion.sign_up()

    assert (await orion.http.post(f"{AUTH}/sessions/revoke-others", headers=here.headers)).status_code == 204
    await signed_out_everywhere(orion, first, last)
    assert [item["current"] for item in await listed(orion, here)] == [True]

    assert (await orion.http.delete(f"{AUTH}/sessions", headers=here.headers)).status_code == 204
    await signed_out_everywhere(orion, here)
    assert len(await listed(orion, stranger)) == 1


async def test_the_sessions_of_others_cannot_be_ended(orion: Any) -> None:
    """A53."""
    ada, grace = await orion.sign_up(), await orion.sign_up()

    for session in (sid(grace.access_token), str(uuid4())):
        answer = await orion.http.delete(f"{AUTH}/sessions/{session}", headers=ada.headers)
        assert problem(answer) == (404, "auth.no_such_session")
    for answer in (
        await orion.http.get(f"{AUTH}/admin/users/{grace.id}/sessions", headers=ada.headers),
        await orion.http.delete(f"{AUTH}/admin/users/{grace.id}/sessions", headers=ada.headers),
        await orion.http.delete(
            f"{AUTH}/admin/users/{grace.id}/sessions/{sid(grace.access_token)}", headers=ada.headers
        ),
    ):
        assert problem(answer) == (403, "forbidden")
    assert len(await listed(orion, grace)) == 1


async def test_an_administrator_sees_and_ends_the_sessions_of_others(orion: Any) -> None:
    """A32."""
    admin, person = await orion.admin(), await orion.sign_up()
    other = await orion.sign_in(person.email)
    path = f"{AUTH}/admin/users/{person.id}/sessions"

    answer = await orion.http.get(path, headers=admin.headers)
    assert [item["id"] for item in answer.json()["items"]] == [sid(other.access_token), sid(person.access_token)]
    ended = await orion.http.delete(f"{path}/{sid(other.access_token)}", headers=admin.headers)
    assert ended.status_code == 204
    await signed_out_everywhere(orion, other)
    assert len(await listed(orion, person)) == 1
    assert (await orion.http.delete(path, headers=admin.headers)).status_code == 204
    await signed_out_everywhere(orion, person)

    for method in ("GET", "DELETE"):
        nobody = await orion.http.request(method, f"{AUTH}/admin/users/{uuid4()}/sessions", headers=admin.headers)
        assert problem(nobody) == (404, "auth.no_such_account")
        no_id = await orion.http.request(method, f"{AUTH}/admin/users/ada/sessions", headers=admin.headers)
        assert problem(no_id)[0] == 404


async def test_the_contract_refuses_in_every_reach_alike(orion: Any) -> None:
    """A32, A53."""
    auth, ada, grace = orion.service(Auth), await orion.sign_up(), await orion.sign_up()
    with orion.acting_as(ada):
        assert len((await auth.sessions_of(ada.id, "", 50)).items) == 1
        with pytest.raises(Forbidden):
            await auth.sessions_of(grace.id, "", 50)
        with pytest.raises(NoSuchSession):
            await auth.end_session(ada.id, uuid4())
        await auth.end_sessions(ada.id, keep_current=False)
    with orion.acting_as(ada, "sessions:manage"):
        await auth.end_sessions(grace.id, keep_current=False)
    await signed_out_everywhere(orion, ada, grace)


# Retries and reuse


async def test_a_retry_gets_the_same_pair(orion: Any) -> None:
    """A22, A24."""
    person = await orion.sign_up()
    answers = await asyncio.gather(*(refresh(orion, person.refresh_token) for _ in range(10)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({(answer.json()["access_token"], answer.json()["refresh_token"]) for answer in answers}) == 1
    assert (await orion.http.get(f"{AUTH}/me", headers=bearer(answers[0].json()["access_token"]))).status_code == 200


async def test_a_retry_after_the_next_refresh_is_refused_and_the_session_goes_on(orion: Any) -> None:
    """A25."""
    person = await orion.sign_up()
    second = (await refresh(orion, person.refresh_token)).json()
    third = (await refresh(orion, second["refresh_token"])).json()

    assert problem(await refresh(orion, person.refresh_token)) == (400, "auth.invalid_grant")

    assert (await orion.http.get(f"{AUTH}/me", headers=bearer(third["access_token"]))).status_code == 200
    assert (await refresh(orion, third["refresh_token"])).status_code == 200


async def test_a_token_spent_longer_ago_ends_the_session_and_its_owner_is_told(orion: Any) -> None:
    """A26."""
    person = await orion.sign_up()
    second = (await refresh(orion, person.refresh_token)).json()
    await window_passes(orion, sid(person.access_token))

    again = await refresh(orion, person.refresh_token)

    assert problem(again) == (400, "auth.invalid_grant")
    assert problem(await refresh(orion, second["refresh_token"])) == (400, "auth.invalid_grant")
    await signed_out_everywhere(orion, person)
    [event] = [event for event in await orion.told(SessionRevoked) if event.user_id == person.id]
    assert event.reason == "refresh_reuse"
    [told] = [event for event in await orion.told(RefreshReuseDetected) if event.user_id == person.id]
    assert told.email == person.email

    await orion.settle()
    inside = await orion.sign_in(person.email, person.password)
    notices = (await orion.http.get("/api/v1/notifications", headers=inside.headers)).json()["items"]
    assert [notice["type"] for notice in notices] == ["auth.refresh_reuse", "user.welcome"]
    _, mail = await orion.mails(person.email)
    assert "ended" in mail["Subject"]
    for part in mail.iter_parts():
        assert told.ip_address in part.get_content()
        assert "ort_" not in part.get_content()


async def test_a_token_that_another_person_or_client_brings_is_refused_and_its_session_goes_on(orion: Any) -> None:
    """A29."""
    ada, grace = await orion.sign_up(), await orion.sign_up()
    second = (await refresh(orion, ada.refresh_token)).json()
    await window_passes(orion, sid(ada.access_token))

    for token in (ada.refresh_token, second["refresh_token"]):
        assert problem(await refresh(orion, token, headers=grace.headers)) == (400, "auth.invalid_grant")
        stolen = await orion.http.post(f"{AUTH}/refresh", headers={**MODE, "cookie": f"{COOKIE}={token}"})
        assert problem(stolen) == (400, "auth.invalid_grant")

    assert (await refresh(orion, second["refresh_token"], headers=bearer(second["access_token"]))).status_code == 200


# Cookies


async def with_cookie(orion: Any, path: str, body: Any = None, *, cookie: str = "", mode: bool = True) -> Any:
    headers = {**(MODE if mode else {}), **({"cookie": f"{COOKIE}={cookie}"} if cookie else {})}
    return await orion.http.post(f"{AUTH}/{path}", json=body, headers=headers)


def kept(answer: Any) -> tuple[str, Any]:
    """The token in the cookie that `answer` sets, and its attributes."""
    [line] = answer.headers.get_list("set-cookie")
    found = SimpleCookie(line)
    assert list(found) == [COOKIE]
    return found[COOKIE].value, found[COOKIE]


async def test_in_cookie_mode_the_refresh_token_is_in_a_cookie_and_nowhere_else(orion: Any) -> None:
    """A20."""
    email = f"person-{uuid4()}@example.org"
    body = {"email": email, "password": "correct horse battery staple"}
    token = ""
    for path, status in (("register", 201), ("login", 200), ("refresh", 200)):
        answer = await with_cookie(orion, path, None if path == "refresh" else body, cookie=token)
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"user", "access_token", "token_type", "expires_in"}
        assert answer.headers["cache-control"] == "no-store"
        token, cookie = kept(answer)
        assert token.startswith("ort_")
        assert token not in answer.text
        assert (cookie["path"], cookie["domain"], cookie["samesite"].lower()) == ("/", "", "strict")
        assert (cookie["secure"], cookie["httponly"]) == (True, True)
        assert int(cookie["max-age"]) >= 30 * 24 * 3600
        me = await orion.http.get(f"{AUTH}/me", headers=bearer(answer.json()["access_token"]))
        assert me.json()["email"] == email


async def test_the_cookie_counts_with_the_header_only(orion: Any) -> None:
    """A20, G31."""
    person = await orion.sign_up()
    signed_in = await with_cookie(orion, "login", {"email": person.email, "password": person.password})
    token, _ = kept(signed_in)
    access = bearer(signed_in.json()["access_token"])

    for body in (None, {"refresh_token": ""}, {"refresh_token": token}):
        answer = await with_cookie(orion, "refresh", body, cookie=token, mode=False)
        assert problem(answer)[0] in (400, 403, 422)
        assert "set-cookie" not in answer.headers
    # A request with a cookie alone may be another site's: the gateway refuses it.
    assert (await with_cookie(orion, "logout", cookie=token, mode=False)).status_code == 403
    assert (await orion.http.get(f"{AUTH}/me", headers=access)).status_code == 200
    # No other route takes it for an identity.
    for path in ("me", "sessions"):
        answer = await orion.http.get(f"{AUTH}/{path}", headers={**MODE, "cookie": f"{COOKIE}={token}"})
        assert problem(answer)[0] == 401

    refreshed = await with_cookie(orion, "refresh", cookie=token)
    again, _ = kept(refreshed)
    left = await with_cookie(orion, "logout", cookie=again)
    gone, cookie = kept(left)
    assert (left.status_code, gone, cookie["max-age"], cookie["path"]) == (204, "", "0", "/")
    assert (cookie["secure"], cookie["httponly"]) == (True, True)
    assert problem(await with_cookie(orion, "refresh", cookie=again)) == (400, "auth.invalid_grant")
    assert problem(await orion.http.get(f"{AUTH}/me", headers=access))[0] == 401


async def test_a_session_of_tokens_and_one_of_cookies_are_not_exchanged(orion: Any) -> None:
    """A29."""
    person = await orion.sign_up()
    token, _ = kept(await with_cookie(orion, "login", {"email": person.email, "password": person.password}))

    assert problem(await with_cookie(orion, "refresh", cookie=person.refresh_token)) == (400, "auth.invalid_grant")
    assert problem(await refresh(orion, token)) == (400, "auth.invalid_grant")

    assert (await with_cookie(orion, "refresh", cookie=token)).status_code == 200
    assert (await refresh(orion, person.refresh_token)).status_code == 200


async def test_what_is_no_mode_and_a_missing_token_are_refused_naming_the_field(orion: Any) -> None:
    """A20, A31."""
    person = await orion.sign_up()
    body = {"email": person.email, "password": person.password}
    for path in ("register", "login", "refresh", "logout"):
        answer = await orion.http.post(f"{AUTH}/{path}", json=body, headers={"x-orion-session": "cookies"})
        assert problem(answer)[0] == 422
    for path in ("login", "refresh", "logout"):
        given = body if path == "login" else {"refresh_token": person.refresh_token}
        answer = await orion.http.post(f"{AUTH}/{path}", json=given, headers={"x-orion-session": "cookies"})
        assert [error["field"] for error in answer.json()["errors"]] == ["X-Orion-Session"]
    nothing = await orion.http.post(f"{AUTH}/refresh")
    assert problem(nothing)[0] == 422
    assert [error["field"] for error in nothing.json()["errors"]] == ["refresh_token"]
    assert problem(await with_cookie(orion, "refresh")) == (400, "auth.invalid_grant")
    assert problem(await with_cookie(orion, "refresh", cookie="garbage")) == (400, "auth.invalid_grant")
    assert (await refresh(orion, person.refresh_token)).status_code == 200


# Restarts


async def test_a_revocation_survives_a_restart(tmp_path: Path) -> None:
    """A36."""
    async with InProcess(tmp_path / "orion") as orion:
        person = await orion.sign_up()
        other = await orion.sign_in(person.email)
        await orion.http.delete(f"{AUTH}/sessions/{sid(other.access_token)}", headers=person.headers)

    async with InProcess(tmp_path / "orion") as again:
        assert problem(await again.http.get(f"{AUTH}/me", headers=other.headers))[0] == 401
        assert problem(await refresh(again, other.refresh_token)) == (400, "auth.invalid_grant")
        assert (await again.http.get(f"{AUTH}/me", headers=person.headers)).status_code == 200
