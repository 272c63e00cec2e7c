"""The whole platform with this plugin in it: in process, by wire, and as one process per service."""

import secrets

import pytest
from acme_referrals.contract import FriendJoined, NewInvite, Referrals

from orion_core.testing import Orion

pytestmark = pytest.mark.reaches("local", "wire", "processes")
PATH = "/api/v1/referrals"


def somebody() -> str:
    return f"friend-{secrets.token_hex(6)}@example.org"


async def test_an_invited_person_who_registers_has_joined(orion: Orion) -> None:
    ada, email = await orion.sign_up(name="Ada"), somebody()

    invited = await orion.http.post(PATH, json={"email": f" {email.upper()} "}, headers=ada.headers)
    grace = await orion.sign_up(email=email)
    await orion.settle()

    assert (invited.status_code, invited.json()["email"], invited.json()["joined_at"]) == (201, email, None)
    [invite] = (await orion.http.get(PATH, headers=ada.headers)).json()["items"]
    assert invite["id"] == invited.json()["id"]
    assert invite["joined_at"] is not None
    told = [event for event in await orion.told(FriendJoined) if event.user_id == ada.id]
    assert told == [FriendJoined(user_id=ada.id, friend_id=grace.id)]


async def test_an_address_is_invited_once_by_each_person(orion: Orion) -> None:
    ada, grace, email = await orion.sign_up(), await orion.sign_up(), somebody()

    first = await orion.http.post(PATH, json={"email": email}, headers=ada.headers)
    again = await orion.http.post(PATH, json={"email": email}, headers=ada.headers)
    other = await orion.http.post(PATH, json={"email": email}, headers=grace.headers)

    assert first.json() == again.json()
    assert first.json()["id"] != other.json()["id"]
    assert [len((await orion.http.get(PATH, headers=who.headers)).json()["items"]) for who in (ada, grace)] == [1, 1]


async def test_what_is_no_address_is_refused_by_name(orion: Orion) -> None:
    ada = await orion.sign_up()

    answer = await orion.http.post(PATH, json={"email": "nobody"}, headers=ada.headers)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "email")


async def test_a_person_waits_for_so_many_and_no_more(orion: Orion) -> None:
    ada = await orion.sign_up()
    answers = [await orion.http.post(PATH, json={"email": somebody()}, headers=ada.headers) for _ in range(21)]

    assert [answer.status_code for answer in answers] == [201] * 20 + [409]
    assert answers[-1].json()["code"] == "referrals.too_many_open"


async def test_invites_are_for_people_who_signed_in(orion: Orion) -> None:
    assert (await orion.http.get(PATH)).status_code == 401
    assert (await orion.http.post(PATH, json={"email": somebody()})).status_code == 401


async def test_totals_are_for_those_who_may_read_them(orion: Orion) -> None:
    ada, admin = await orion.sign_up(), await orion.admin()
    with orion.acting_as(ada):
        await orion.service(Referrals).invite(NewInvite(somebody()))

    refused = await orion.http.get(f"{PATH}/admin/totals", headers=ada.headers)
    shown = await orion.http.get(f"{PATH}/admin/totals", headers=admin.headers)

    assert refused.status_code == 403
    assert shown.status_code == 200
    assert shown.json()["invited"] > 0
