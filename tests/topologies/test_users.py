"""People and their profiles, as every reach shows them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest

from orion_core.contracts.users import NoSuchPerson, ProfileChange, ProfileChanged, Users
from orion_core.errors import Invalid, PreconditionFailed
from orion_core.testing import Orion, Person

pytestmark = pytest.mark.reaches("local", "wire", "processes")

ME = "/api/v1/users/me"
MERGE_PATCH = "application/merge-patch+json"


async def person_with_profile(orion: Orion, **given: str) -> Person:
    person = await orion.sign_up(**given)
    await orion.settle()
    return person


def fields(answer: httpx.Response) -> dict[str, str]:
    """The fields named in a problem, with their codes."""
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


async def test_a_registered_person_has_a_profile(orion: Orion) -> None:
    """U1, U2."""
    person = await person_with_profile(orion, name="Ada")

    answer = await orion.http.get(ME, headers=person.headers)

    assert answer.status_code == 200
    profile = answer.json()
    assert profile["user_id"] == str(person.id)
    assert (profile["email"], profile["name"], profile["version"]) == (person.email, "Ada", 1)
    assert {
        name: profile[name] for name in ("first_name", "last_name", "bio", "avatar_url", "locale", "time_zone")
    } == {
        "first_name": "",
        "last_name": "",
        "bio": "",
        "avatar_url": "",
        "locale": "",
        "time_zone": "",
    }
    assert profile["created_at"] == profile["updated_at"]


async def test_a_profile_can_be_read_by_the_id_of_its_person(orion: Orion) -> None:
    """U10."""
    person = await person_with_profile(orion)

    mine = await orion.http.get(ME, headers=person.headers)
    same = await orion.http.get(f"/api/v1/users/{person.id}", headers=person.headers)

    assert same.status_code == 200
    assert same.json() == mine.json()
    assert same.headers["etag"] == mine.headers["etag"]


async def test_another_persons_profile_is_as_if_it_were_not_there(orion: Orion) -> None:
    """U10."""
    person, other = await person_with_profile(orion), await person_with_profile(orion)

    hidden = await orion.http.get(f"/api/v1/users/{other.id}", headers=person.headers)
    absent = await orion.http.get(f"/api/v1/users/{uuid4()}", headers=person.headers)

    assert (hidden.status_code, hidden.json()["code"]) == (404, "users.not_found")
    assert (absent.status_code, absent.json()["code"]) == (404, "users.not_found")
    assert hidden.json()["detail"].replace(str(other.id), "") == absent.json()["detail"].replace(
        absent.json()["instance"].rpartition("/")[2], ""
    )


async def test_an_administrator_reads_anybodys_profile(orion: Orion) -> None:
    """U10."""
    person, admin = await person_with_profile(orion, name="Grace"), await orion.admin()

    answer = await orion.http.get(f"/api/v1/users/{person.id}", headers=admin.headers)
    absent = await orion.http.get(f"/api/v1/users/{uuid4()}", headers=admin.headers)

    assert (answer.status_code, answer.json()["name"]) == (200, "Grace")
    assert (absent.status_code, absent.json()["code"]) == (404, "users.not_found")


@pytest.mark.parametrize("path", [ME, "/api/v1/users/0190f5a0-0000-7000-8000-000000000001"])
async def test_nobody_reads_profiles_without_signing_in(orion: Orion, path: str) -> None:
    answer = await orion.http.get(path)

    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_patch_writes_what_it_names_and_nothing_else(orion: Orion) -> None:
    """U5."""
    person = await person_with_profile(orion, name="Ada")
    before = (await orion.http.get(ME, headers=person.headers)).json()

    answer = await orion.http.patch(
        ME, json={"first_name": "Ada", "bio": "Notes\non engines", "locale": "en-GB"}, headers=person.headers
    )

    assert answer.status_code == 200
    after = answer.json()
    assert after == (await orion.http.get(ME, headers=person.headers)).json()
    assert after == {
        **before,
        "first_name": "Ada",
        "bio": "Notes\non engines",
        "locale": "en-GB",
        "version": 2,
        "updated_at": after["updated_at"],
    }
    assert after["updated_at"] >= before["updated_at"]


async def test_null_clears_and_the_media_type_of_merge_patches_is_accepted(orion: Orion) -> None:
    """U5."""
    person = await person_with_profile(orion, name="Ada")

    answer = await orion.http.patch(
        ME, content=b'{"name": null}', headers={**person.headers, "content-type": MERGE_PATCH}
    )

    assert (answer.status_code, answer.json()["name"]) == (200, "")


async def test_unknown_and_read_only_fields_are_refused_each_by_name(orion: Orion) -> None:
    """U5."""
    person = await person_with_profile(orion, name="Ada")

    answer = await orion.http.patch(
        ME,
        json={"name": "Eve", "email": "eve@x.org", "user_id": str(uuid4()), "version": 9, "is_admin": True},
        headers=person.headers,
    )

    assert answer.status_code == 422
    assert fields(answer) == {
        "email": "read_only",
        "user_id": "read_only",
        "version": "read_only",
        "is_admin": "unknown",
    }
    assert (await orion.http.get(ME, headers=person.headers)).json()["name"] == "Ada"


async def test_every_field_that_does_not_fit_is_named(orion: Orion) -> None:
    """U5, U9."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(
        ME,
        json={
            "name": "a" * 201,
            "first_name": 5,
            "last_name": "Love\x00lace",
            "bio": "\x00",
            "locale": "not a tag",
            "time_zone": ["Europe/Vienna"],
        },
        headers=person.headers,
    )

    assert answer.status_code == 422
    assert fields(answer) == {
        "name": "too_long",
        "first_name": "type",
        "last_name": "control_character",
        "bio": "pattern",
        "locale": "pattern",
        "time_zone": "type",
    }


@pytest.mark.parametrize("body", [b"[]", b'"Ada"', b"null", b"5"])
async def test_a_patch_that_is_no_object_is_refused(orion: Orion, body: bytes) -> None:
    """U5."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(ME, content=body, headers={**person.headers, "content-type": MERGE_PATCH})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": "Ada",}', b'{"name": "\xff"}', b"[" * 100_000])
async def test_a_patch_that_is_no_json_is_400(orion: Orion, body: bytes) -> None:
    """U5."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(ME, content=body, headers={**person.headers, "content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_a_field_given_twice_and_one_whose_name_cannot_be_encoded_are_refused_by_name(orion: Orion) -> None:
    """U5: never a 500."""
    person = await person_with_profile(orion)
    headers = {**person.headers, "content-type": "application/json"}

    twice = await orion.http.patch(ME, content=b'{"name": "Ada", "name": "Grace"}', headers=headers)
    half = await orion.http.patch(ME, content=b'{"\\ud800": 1}', headers=headers)

    assert (twice.status_code, fields(twice)) == (400, {"name": "duplicate"})
    assert (half.status_code, fields(half)) == (422, {"\\ud800": "unknown"})


async def test_a_patch_of_another_media_type_is_415(orion: Orion) -> None:
    """U5."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(ME, content=b"name=Ada", headers={**person.headers, "content-type": "text/plain"})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")


async def test_the_etag_changes_exactly_when_the_profile_does(orion: Orion) -> None:
    """U6."""
    person = await person_with_profile(orion, name="Ada")

    first = await orion.http.get(ME, headers=person.headers)
    same = await orion.http.patch(ME, json={"name": " Ada "}, headers=person.headers)
    empty = await orion.http.patch(ME, json={}, headers=person.headers)
    other = await orion.http.patch(ME, json={"name": "Ada Lovelace"}, headers=person.headers)
    again = await orion.http.get(ME, headers=person.headers)

    assert first.headers["etag"].startswith('"')
    assert first.headers["etag"] == same.headers["etag"] == empty.headers["etag"]
    assert same.json() == empty.json() == first.json()
    assert other.headers["etag"] == again.headers["etag"] != first.headers["etag"]


async def test_two_people_never_share_an_etag(orion: Orion) -> None:
    """U6."""
    person, other = await person_with_profile(orion), await person_with_profile(orion)

    mine = await orion.http.get(ME, headers=person.headers)
    theirs = await orion.http.get(ME, headers=other.headers)

    assert mine.headers["etag"] != theirs.headers["etag"]


async def test_of_two_writers_with_one_etag_one_wins(orion: Orion) -> None:
    """U6."""
    person = await person_with_profile(orion)
    etag = (await orion.http.get(ME, headers=person.headers)).headers["etag"]
    headers = {**person.headers, "if-match": etag}

    answers = await asyncio.gather(
        orion.http.patch(ME, json={"name": "Ada"}, headers=headers),
        orion.http.patch(ME, json={"name": "Grace"}, headers=headers),
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412]
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert lost.json()["code"] == "precondition_failed"
    now = await orion.http.get(ME, headers=person.headers)
    assert now.json() == won.json()
    assert now.json()["version"] == 2


@pytest.mark.parametrize("if_match", ['"1"', 'W/"1"', "1", "", '"1-00000000000000000000000000000000"'])
async def test_an_etag_of_something_else_never_matches(orion: Orion, if_match: str) -> None:
    """U6."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(ME, json={"name": "Ada"}, headers={**person.headers, "if-match": if_match})

    assert answer.status_code == 412


async def test_a_star_and_a_list_with_the_right_etag_match(orion: Orion) -> None:
    """U6."""
    person = await person_with_profile(orion)

    star = await orion.http.patch(ME, json={"name": "Ada"}, headers={**person.headers, "if-match": "*"})
    several = f'"old", W/"weak", {star.headers["etag"]}'
    listed = await orion.http.patch(ME, json={"name": "Grace"}, headers={**person.headers, "if-match": several})

    assert (star.status_code, listed.status_code) == (200, 200)
    assert listed.json()["name"] == "Grace"


async def test_patches_of_different_fields_at_once_all_survive(orion: Orion) -> None:
    """U6."""
    person = await person_with_profile(orion)
    wanted = {
        "name": "Ada Lovelace",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "bio": "Engines",
        "locale": "en-GB",
        "time_zone": "Europe/London",
    }

    answers = await asyncio.gather(
        *(orion.http.patch(ME, json={name: text}, headers=person.headers) for name, text in wanted.items())
    )

    assert [answer.status_code for answer in answers] == [200] * len(wanted)
    now = (await orion.http.get(ME, headers=person.headers)).json()
    assert {name: now[name] for name in wanted} == wanted
    assert now["version"] == 1 + len(wanted)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("  Ada  ", "Ada"),
        ("A\u030angstro\u0308m", "\u00c5ngstr\u00f6m"),
        ("<b>Ada</b> & 'co' \\ %_", "<b>Ada</b> & 'co' \\ %_"),
        ("\U0001f469\u200d\U0001f4bb \u05d0\u05d3\u05d4", "\U0001f469\u200d\U0001f4bb \u05d0\u05d3\u05d4"),
        ("\U0001f600" * 200, "\U0001f600" * 200),
    ],
)
async def test_text_is_trimmed_and_normalised_and_else_comes_back_as_it_was(
    orion: Orion, given: str, stored: str
) -> None:
    """U9."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(ME, json={"name": given}, headers=person.headers)

    assert (answer.status_code, answer.json()["name"]) == (200, stored)
    assert (await orion.http.get(ME, headers=person.headers)).json()["name"] == stored


@pytest.mark.parametrize("hostile", ["Ada\n", "\u202eadA", "a\x7fb", "\u2066x"])
async def test_control_characters_and_direction_overrides_are_refused_in_names(orion: Orion, hostile: str) -> None:
    """U9."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(ME, json={"last_name": hostile}, headers=person.headers)

    assert answer.status_code == 422
    assert set(fields(answer)) == {"last_name"}


async def test_half_a_surrogate_pair_is_refused_in_every_field(orion: Orion) -> None:
    """U9."""
    person = await person_with_profile(orion)

    answer = await orion.http.patch(
        ME,
        content=b'{"name": "\\ud83d", "bio": "\\ud83d", "locale": "\\ud83d", "time_zone": "\\ud83d"}',
        headers={**person.headers, "content-type": MERGE_PATCH},
    )

    assert answer.status_code == 422
    assert set(fields(answer)) == {"name", "bio", "locale", "time_zone"}


async def test_a_change_is_told_with_the_fields_that_changed(orion: Orion) -> None:
    person = await person_with_profile(orion, name="Ada")

    await orion.http.patch(ME, json={"name": "Ada", "bio": "Engines", "last_name": "Lovelace"}, headers=person.headers)
    await orion.http.patch(ME, json={"bio": "Engines"}, headers=person.headers)
    await orion.settle()

    told = [event for event in await orion.told(ProfileChanged) if event.user_id == person.id]
    assert [(event.version, event.changed, event.bio) for event in told] == [(2, ("bio", "last_name"), "Engines")]


async def test_the_contract_says_the_same_as_the_routes(orion: Orion) -> None:
    person = await person_with_profile(orion, name="Ada")
    users = orion.service(Users)

    with orion.acting_as(person.id):
        before = await users.me()
        after = await users.change_me(ProfileChange(bio="Engines", name=""), before.version)
        with pytest.raises(PreconditionFailed):
            await users.change_me(ProfileChange(bio="Looms"), before.version)
        with pytest.raises(NoSuchPerson):
            await users.get(uuid4())
        with pytest.raises(Invalid):
            await users.change_me(ProfileChange(name="a\tb"))
        assert await users.get(person.id) == after

    assert (before.name, before.bio, after.name, after.bio) == ("Ada", "", "", "Engines")
    assert after.version == before.version + 1


async def test_an_id_that_is_none_is_not_found(orion: Orion) -> None:
    person = await orion.sign_up()

    answer = await orion.http.get("/api/v1/users/nobody", headers=person.headers)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
