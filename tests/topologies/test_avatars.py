"""Avatars, which users shows and storage keeps, as every reach shows them."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import httpx
import pytest

from orion_core.contracts.storage import MAX_PICTURE
from orion_core.contracts.users import AvatarChanged
from orion_core.testing import Orion, Person

image = pytest.importorskip("PIL.Image", reason="needs the extra images")

pytestmark = pytest.mark.reaches("local", "wire", "processes")

ME = "/api/v1/users/me"
AVATAR = f"{ME}/avatar"


def picture(color: str = "red", kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    made = io.BytesIO()
    image.new("RGB", size, color).save(made, kind)
    return made.getvalue()


async def somebody(orion: Orion) -> Person:
    person = await orion.sign_up()
    await orion.settle()
    return person


async def put(orion: Orion, person: Person, body: bytes, kind: str = "image/png") -> httpx.Response:
    return await orion.http.put(AVATAR, content=body, headers={**person.headers, "content-type": kind})


async def told(orion: Orion, person: Person) -> list[Any]:
    return [event for event in await orion.told(AvatarChanged) if event.user_id == person.id]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_an_avatar_is_shown_in_every_size(orion: Orion, kind: str) -> None:
    """U17, U20."""
    person = await somebody(orion)

    answer = await put(orion, person, picture(kind=kind, size=(640, 600)), f"image/{kind.lower()}")
    await orion.settle()

    assert answer.status_code == 200
    url = answer.json()["avatar_url"]
    assert url.endswith("/256")
    for size in (64, 256, 512):
        shown = await orion.http.get(url.removesuffix("256") + str(size))
        assert (shown.status_code, shown.headers["content-type"].partition("/")[0]) == (200, "image")
        assert image.open(io.BytesIO(shown.content)).size == (size, size)
        assert "immutable" in shown.headers["cache-control"]
    mine = await orion.http.get(ME, headers=person.headers)
    assert (mine.json(), mine.headers["etag"]) == (answer.json(), answer.headers["etag"])


async def test_a_new_avatar_has_another_address_and_the_old_one_goes(orion: Orion) -> None:
    """U18, U20."""
    person = await somebody(orion)
    first = (await put(orion, person, picture("red"))).json()["avatar_url"]

    second = (await put(orion, person, picture("blue"))).json()["avatar_url"]
    await orion.settle()

    assert first != second
    assert (await orion.http.get(second)).status_code == 200
    assert (await orion.http.get(first)).status_code == 404


async def test_taking_an_avatar_away_returns_to_none(orion: Orion) -> None:
    """U20."""
    person = await somebody(orion)
    url = (await put(orion, person, picture())).json()["avatar_url"]

    removed = await orion.http.delete(AVATAR, headers=person.headers)
    again = await orion.http.delete(AVATAR, headers=person.headers)
    await orion.settle()

    assert (removed.status_code, removed.json()["avatar_url"]) == (200, "")
    assert again.headers["etag"] == removed.headers["etag"]
    assert (await orion.http.get(url)).status_code == 404
    assert len(await told(orion, person)) == 2


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png"),
        (b"", "image/png"),
        (b"{}", "application/json"),
    ],
)
async def test_what_is_no_picture_is_refused_and_changes_nothing(orion: Orion, body: bytes, kind: str) -> None:
    """U17."""
    person = await somebody(orion)
    before = (await put(orion, person, picture())).json()

    answer = await put(orion, person, body, kind)

    assert answer.status_code == 415
    assert (await orion.http.get(ME, headers=person.headers)).json() == before


async def test_a_picture_above_five_mebibytes_is_413(orion: Orion) -> None:
    """U17."""
    person = await somebody(orion)

    answer = await put(orion, person, picture() + bytes(MAX_PICTURE))

    assert answer.status_code == 413
    assert await told(orion, person) == []


async def test_of_uploads_at_once_one_wins_and_the_others_go(orion: Orion) -> None:
    """U19."""
    person = await somebody(orion)

    answers = await asyncio.gather(*(put(orion, person, picture(color)) for color in ("red", "green", "blue")))
    await orion.settle()

    assert [answer.status_code for answer in answers] == [200] * 3
    now = (await orion.http.get(ME, headers=person.headers)).json()["avatar_url"]
    shown = {answer.json()["avatar_url"]: (await orion.http.get(answer.json()["avatar_url"])) for answer in answers}
    assert {url: answer.status_code for url, answer in shown.items()} == {
        url: 200 if url == now else 404 for url in shown
    }


async def test_the_avatar_of_an_erased_person_is_gone(orion: Orion) -> None:
    """U20, U36."""
    person = await somebody(orion)
    url = (await put(orion, person, picture())).json()["avatar_url"]
    await orion.settle()

    await orion.http.delete(ME, headers=person.headers)
    await orion.settle()

    for size in (64, 256, 512):
        assert (await orion.http.get(url.removesuffix("256") + str(size))).status_code == 404


async def test_an_administrator_takes_somebodys_avatar_away(orion: Orion) -> None:
    """U10."""
    person, other, admin = await somebody(orion), await somebody(orion), await orion.admin()
    await put(orion, person, picture())
    path = f"/api/v1/users/{person.id}/avatar"

    hidden = await orion.http.delete(path, headers=other.headers)
    removed = await orion.http.delete(path, headers=admin.headers)

    assert (hidden.status_code, removed.status_code, removed.json()["avatar_url"]) == (404, 200, "")
