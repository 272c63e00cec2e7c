"""Secrets that are planted through every door are found nowhere afterwards: no log, database, file, cache or error."""

from __future__ import annotations

import base64
import json
import logging
import secrets
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio
from stored import cells, databases

from orion_core.keyring import Keyring
from orion_core.testing import InProcess, Orion
from orion_core.testing.processes import Processes
from orion_core.testing.services import redis_url

pytestmark = pytest.mark.reaches("local", "wire", "processes")

AUTH = "/api/v1/auth"
ENDPOINTS = "/api/v1/webhooks/endpoints"
OWN_CLIENT = ("httpx", "httpcore")
"""Loggers of the client with which the test itself asks."""


class Garden:
    """What was planted, and what everybody answered."""

    def __init__(self, orion: Orion) -> None:
        self.orion = orion
        self.planted: dict[str, str] = {}
        self.refusals: list[tuple[str, str]] = []

    def plant(self, name: str, text: str = "") -> str:
        """A recognisable secret, or `text` that the platform made."""
        self.planted[name] = text or f"{name.replace(' ', '-')}-{secrets.token_hex(10)}"
        return self.planted[name]

    async def ask(self, status: int, method: str, path: str, **given: Any) -> Any:
        answer = await self.orion.http.request(method, path, **given)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        if answer.status_code >= 400:
            self.refusals.append((f"{method} {path}", answer.text + repr(answer.headers)))
        return answer

    def forms(self) -> Iterator[tuple[str, bytes]]:
        """Every planted secret as it may be written down, in lower case."""
        for name, text in self.planted.items():
            raw = text.encode()
            written = {
                raw,
                raw.hex().encode(),
                base64.b64encode(raw).rstrip(b"="),
                base64.urlsafe_b64encode(raw).rstrip(b"="),
                json.dumps(text)[1:-1].encode(),
                urllib.parse.quote(text, safe="").encode(),
                repr(text)[1:-1].encode(),
            }
            yield from ((name, form.lower()) for form in written)


def tokens_of(garden: Garden, label: str, body: dict[str, Any]) -> dict[str, str]:
    """Plant the tokens of `body`, the access token's signature by itself too; the header that carries it."""
    garden.plant(f"access token {label}", body["access_token"])
    garden.plant(f"signature {label}", body["access_token"].rpartition(".")[2])
    if "refresh_token" in body:
        garden.plant(f"refresh token {label}", body["refresh_token"])
        garden.plant(f"random part of the refresh token {label}", body["refresh_token"].removeprefix("ort_"))
    return {"authorization": f"Bearer {body['access_token']}"}


async def sow(garden: Garden) -> None:
    """Plant through accounts, sessions, tokens, webhooks and impersonation, in good requests and in bad ones."""
    email = f"person-{secrets.token_hex(6)}@example.org"
    password = garden.plant("password")
    body = {"email": email, "password": password, "name": "Ada"}
    opened = (await garden.ask(201, "POST", f"{AUTH}/register", json=body)).json()
    mine = tokens_of(garden, "of the registration", opened)

    # Passwords where they belong, and where people put them by mistake.
    signed_in = (await garden.ask(200, "POST", f"{AUTH}/login", json={"email": email, "password": password})).json()
    tokens_of(garden, "of the login", signed_in)
    for wrong in (
        {"email": email, "password": garden.plant("wrong password")},
        {"email": "nobody@example.org", "password": garden.plant("password of nobody")},
        {"email": garden.plant("password in the email"), "password": "x"},
        {"email": f"{garden.plant('password before the at')}@example.org", "password": "x"},
        {"email": email, "password": garden.plant("long password") * 60},
    ):
        await garden.ask(401, "POST", f"{AUTH}/login", json=wrong)
    for bad in (
        {"email": email, "password": [garden.plant("password in a list")]},
        {"email": {"password": garden.plant("password in an object")}},
        {"email": "nobody@example.org", "password": garden.plant("new long password") * 60},
        {"email": garden.plant("no address"), "password": garden.plant("password beside no address")},
        {"email": "no@example.org", "password": garden.plant("password beside a bad name"), "name": "a\nb"},
        [garden.plant("password in no object")],
    ):
        await garden.ask(422, "POST", f"{AUTH}/register", json=bad)
    broken = '{"email": "ada@example.org", "password": "' + garden.plant("password in broken json")
    headers = {"content-type": "application/json"}
    await garden.ask(400, "POST", f"{AUTH}/login", content=broken.encode(), headers=headers)
    await garden.ask(
        409, "POST", f"{AUTH}/register", json={**body, "password": garden.plant("password, taken address")}
    )

    # Tokens that count, that were spent, and that never were any.
    pair = (await garden.ask(200, "POST", f"{AUTH}/refresh", json={"refresh_token": opened["refresh_token"]})).json()
    tokens_of(garden, "of the refresh", pair)
    again = (await garden.ask(200, "POST", f"{AUTH}/refresh", json={"refresh_token": pair["refresh_token"]})).json()
    tokens_of(garden, "of the second refresh", again)
    for refused in (
        garden.plant("no refresh token"),
        garden.plant("unknown refresh token", f"ort_{secrets.token_urlsafe(32)}"),
    ):
        await garden.ask(400, "POST", f"{AUTH}/refresh", json={"refresh_token": refused})
    await garden.ask(422, "POST", f"{AUTH}/refresh", json={"refresh_token": garden.plant("too long token") * 30})
    await garden.ask(401, "GET", f"{AUTH}/me", params={"access_token": garden.plant("token in the query")})
    for scheme in ("Bearer", "Basic", "Token"):
        credentials = garden.plant(f"credentials of {scheme}")
        await garden.ask(401, "GET", f"{AUTH}/me", headers={"authorization": f"{scheme} {credentials}"})
    await garden.ask(401, "GET", "/api/v1/users/me", headers={"cookie": f"session={garden.plant('cookie')}"})
    await garden.ask(200, "GET", f"{AUTH}/me", headers=mine)
    await garden.ask(204, "POST", f"{AUTH}/logout", json={"refresh_token": garden.plant("token on leaving")})

    # Another person's session, and secrets of other services.
    admin = await garden.orion.admin()
    garden.plant("access token of the administrator", admin.access_token)
    garden.plant("refresh token of the administrator", admin.refresh_token)
    path = f"{AUTH}/admin/users/{opened['user']['id']}/impersonate"
    acting = await garden.ask(201, "POST", path, headers=admin.headers, json={"reason": garden.plant("reason")})
    await garden.ask(200, "GET", f"{AUTH}/me", headers=tokens_of(garden, "of the impersonation", acting.json()))
    endpoint = {"url": "https://example.org/hook", "event_types": ["user.registered"]}
    made = (await garden.ask(201, "POST", ENDPOINTS, headers=admin.headers, json=endpoint)).json()
    rotated = await garden.ask(201, "POST", f"{ENDPOINTS}/{made['endpoint']['id']}/rotate", headers=admin.headers)
    for label, secret in (("first", made["secret"]), ("second", rotated.json()["secret"])):
        garden.plant(f"{label} webhook secret", secret)
        garden.plant(f"key of the {label} webhook secret", secret.removeprefix("whsec_"))
    with_password = {**endpoint, "url": f"https://ada:{garden.plant('password in a url')}@example.org/"}
    await garden.ask(422, "POST", ENDPOINTS, headers=admin.headers, json=with_password)
    # Last, as it may end the session.
    await garden.ask(400, "POST", f"{AUTH}/refresh", json={"refresh_token": opened["refresh_token"]})


async def test_no_planted_secret_is_found_anywhere(orion: Orion, caplog: pytest.LogCaptureFixture) -> None:
    """A20, A57, A60: what of passwords, tokens and secrets remains is hashes and ciphertext."""
    caplog.set_level(logging.DEBUG)
    garden = Garden(orion)
    await sow(garden)
    await orion.settle()
    known_to_be_stored = f"person-{secrets.token_hex(6)}"
    person = await orion.sign_up(email=f"{known_to_be_stored}@example.org")
    await garden.ask(200, "GET", f"{AUTH}/me", headers=person.headers)
    await orion.settle()

    wanted = [*garden.forms()]
    assert len(garden.planted) > 40
    # The nets have no holes: an address is stored, and a person's id is logged.
    control = [("control", known_to_be_stored.encode()), ("control", str(person.id).encode())]
    places = {place.partition(":")[0] for place in await found(orion, caplog, garden, control)}
    assert places >= {"auth", "users", "file auth.log" if isinstance(orion, Processes) else "logger orion.access"}
    assert await found(orion, caplog, garden, wanted) == []


async def test_keys_of_the_keyring_are_found_nowhere_but_in_the_keyring(
    orion: Orion, caplog: pytest.LogCaptureFixture
) -> None:
    """A60."""
    caplog.set_level(logging.DEBUG)
    await orion.sign_up()
    await orion.settle()
    keyring = Keyring.load(str(folder(orion) / "keyring.json"))
    wanted = [
        (key.kid, form)
        for key in (*keyring.signing, *keyring.pepper, *keyring.encryption)
        for form in (
            key.secret.lower(),
            key.secret.hex().encode(),
            base64.b64encode(key.secret).rstrip(b"=").lower(),
            base64.urlsafe_b64encode(key.secret).rstrip(b"=").lower(),
        )
    ]

    assert await found(orion, caplog, Garden(orion), wanted) == []


def folder(orion: Orion) -> Any:
    assert isinstance(orion, InProcess | Processes)
    return orion.folder


async def found(
    orion: Orion, caplog: pytest.LogCaptureFixture, garden: Garden, wanted: list[tuple[str, bytes]]
) -> list[str]:
    """Where any of the `wanted` forms can be read."""

    def match(place: str, given: bytes) -> Iterator[str]:
        given = given.lower()
        return (f"{place}: {name}" for name, form in wanted if form in given)

    places: list[str] = []
    for service, db in databases(orion).items():
        async for table, column, cell in cells(db):
            places += match(f"{service}: {table}.{column}", cell)
    # The write-ahead logs, the mails and, in processes, the logs of each are among them.
    for file in folder(orion).rglob("*"):
        if file.is_file() and file.name != "keyring.json":
            places += match(f"file {file.name}", file.read_bytes())
    for record in caplog.records:
        if not record.name.startswith(OWN_CLIENT):
            places += match(f"logger {record.name}", f"{record.getMessage()} {vars(record)!r}".encode())
    for asked, answer in garden.refusals:
        places += match(f"answer to {asked}", answer.encode())
    if isinstance(orion, Processes):
        async with redis.asyncio.from_url(redis_url()) as client:
            async for key in client.scan_iter(match=f"*{orion.prefix}*"):
                kept = (await client.get(key) if await client.type(key) == b"string" else None) or b""
                places += match("redis", key + b" " + kept)
    return sorted(set(places))
