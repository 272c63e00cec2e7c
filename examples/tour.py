"""A tour of the platform over HTTP: people, files, search, numbers, webhooks.

Start a host that may call a receiver on this machine, as one process or as many, then take the tour in the same folder
and environment::

    ORION_WEBHOOKS_ALLOWED_NETWORKS=127.0.0.0/8 orion run          # or: orion run --split
    python examples/tour.py

It prints the same lines wherever the services run, and however often it is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import random
import secrets
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import httpx

from orion_core.testing.receiver import Receiver
from orion_core.webhook_verifier import NotVerified

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which something that should have happened is given up."""
MB = 1_000_000
NAME = "Ada Lovelace"
RECEIVERS = "ORION_WEBHOOKS_ALLOWED_NETWORKS=127.0.0.0/8"


class Stop(Exception):
    """The tour cannot go on; says what is missing."""


# What is uploaded


def png(side: int) -> bytes:
    """A picture: from dark to light, and to blue."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // side, y * 255 // side, 160)) for x in range(side)) for y in range(side)
    )
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


_NOISE = random.Random(1815).randbytes(MB)


def megabyte(number: int) -> bytes:
    """One piece of the big file: each is different, and can be told from its number."""
    return number.to_bytes(8, "big") + _NOISE[8:]


# How it is asked


class Tour:
    """One client, and what it has learnt."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(self, method: str, path: str, *expected: int, **given: Any) -> httpx.Response:
        """The answer; raises `Stop` for a status that is not `expected` (200, if none is)."""
        try:
            answer = await self.http.request(method, path, **given)
        except httpx.ConnectError:
            raise Stop(
                f"nobody answers at {self.http.base_url}: start a host with `orion run`, or give --url"
            ) from None
        except httpx.TransportError as error:
            raise Stop(f"{method} {path} was cut off: {type(error).__name__} {error}") from error
        if answer.status_code not in (expected or (200,)):
            raise Stop(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        return answer

    async def get(self, path: str, headers: dict[str, str], **params: Any) -> Any:
        """The JSON that a GET answers."""
        return (await self.ask("GET", path, headers=headers, params=params)).json()

    async def tidy(self, path: str, headers: dict[str, str]) -> None:
        """Remove what the tour has made; a host that is gone by then has said so before."""
        with contextlib.suppress(httpx.TransportError):
            await self.http.delete(path, headers=headers)

    async def until(self, what: str, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """What `attempt` returns as soon as that is something; services tell each other what happens a moment later."""
        end = time.monotonic() + PATIENCE
        while (found := await attempt()) is None:
            if time.monotonic() > end:
                raise Stop(f"{what} did not happen within {PATIENCE:g} s: is every service running? See /health/ready")
            await asyncio.sleep(0.1)
        return found


def bearer(tokens: Any) -> dict[str, str]:
    """The header of somebody who is signed in."""
    return {"authorization": f"Bearer {tokens['access_token']}"}


# The stations


async def administrator(tour: Tour, email: str, password: str) -> dict[str, str]:
    """Sign an administrator in, made for the occasion if none was given."""
    made = not email
    if made:
        email, password = f"tour-{secrets.token_hex(6)}@example.org", secrets.token_urlsafe(24)
        command = ("-m", "orion_core.cli", "users", "create-admin", "--email", email, "--password", password)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise Stop(f"`orion users create-admin` failed; give --admin-email and --admin-password.\n{said.decode()}")
    answer = await tour.ask("POST", "/api/v1/auth/login", 200, 401, json={"email": email, "password": password})
    if answer.status_code == 401:
        raise Stop(
            "the host does not know the administrator that `orion users create-admin` made here: take the tour in the "
            "folder and environment (ORION_*) of the host, or give --admin-email and --admin-password"
            if made
            else "--admin-email and --admin-password do not sign in"
        )
    return bearer(answer.json())


async def endpoint(tour: Tour, admin: dict[str, str], url: str) -> Any:
    """Ask to be told of registrations."""
    answer = await tour.ask(
        "POST",
        "/api/v1/webhooks/endpoints",
        *(201, 422),
        json={"url": url, "event_types": ["user.registered"], "description": "the tour"},
        headers=admin,
    )
    if answer.status_code == 422:
        raise Stop(f"webhooks may not reach this machine: start the host with {RECEIVERS}")
    return answer.json()


async def registration(tour: Tour) -> tuple[str, dict[str, str]]:
    """Register somebody, and wait for the profile."""
    body = {
        "email": f"ada-{secrets.token_hex(6)}@example.org",
        "password": secrets.token_urlsafe(24),
        "name": NAME,
    }
    headers = bearer((await tour.ask("POST", "/api/v1/auth/register", 201, json=body)).json())

    async def profile() -> Any:
        answer = await tour.ask("GET", "/api/v1/users/me", 200, 404, headers=headers)
        return answer.json() if answer.status_code == 200 else None

    me = await tour.until("the new profile", profile)
    print(f"registered: {me['name']}")
    return me["user_id"], headers


async def preferences(tour: Tour, person: dict[str, str]) -> None:
    changes = {"editor.theme": {"value": "dark"}, "editor.font_size": {"value": 14}}
    await tour.ask("PATCH", "/api/v1/users/me/preferences", json=changes, headers=person)
    found = await tour.get("/api/v1/users/me/preferences", person, key=list(changes))
    for each in sorted(found["items"], key=lambda item: item["key"]):
        print(f"preference: {each['key']} = {json.dumps(each['value'])} ({each['type']})")


async def avatar(tour: Tour, person: dict[str, str]) -> None:
    given = png(600)
    sent = {**person, "content-type": "image/png"}
    profile = (await tour.ask("PUT", "/api/v1/users/me/avatar", content=given, headers=sent)).json()
    shown = await tour.ask("GET", profile["avatar_url"])
    print(f"avatar: sent as image/png, shown to everybody as {shown.headers['content-type']}")


async def big_file(tour: Tour, person: dict[str, str], size: int) -> None:
    """Upload a file without ever having it, and read across the middle of it as somebody who only has the URL."""
    bucket = f"tour-{secrets.token_hex(8)}"
    await tour.ask("POST", "/api/v1/storage/buckets", 201, json={"name": bucket}, headers=person)
    path = f"/api/v1/storage/buckets/{bucket}/objects/films/engine.bin"
    digest = hashlib.sha256()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(size):
            piece = megabyte(number)
            digest.update(piece)
            yield piece

    try:
        headers = {**person, "content-length": str(size * MB)}
        info = (await tour.ask("PUT", path, 201, content=pieces(), headers=headers)).json()
        if (info["size"], info["sha256"]) != (size * MB, digest.hexdigest()):
            raise Stop(f"{info['size']} bytes arrived, and they are not those that were sent")
        print(f"file: {size} MB uploaded, the same bytes arrived")

        wish = {"method": "GET", "bucket": bucket, "key": "films/engine.bin", "expires_in": 60}
        signed = (await tour.ask("POST", "/api/v1/storage/signed-urls", 201, json=wish, headers=person)).json()
        await tour.ask("GET", path, 401)
        middle = size // 2 * MB
        first, last = middle - 50, middle + 49
        part = await tour.ask("GET", signed["url"], 206, headers={"range": f"bytes={first}-{last}"})
        if part.content != (megabyte(middle // MB - 1) + megabyte(middle // MB))[MB - 50 : MB + 50]:
            raise Stop("the range that was read holds other bytes than those that were sent")
        print(f"signed URL: {part.headers['content-range']}, the bytes that were sent; without it: refused")
    finally:
        await tour.tidy(path, person)
        await tour.tidy(f"/api/v1/storage/buckets/{bucket}", person)


async def search(tour: Tour, person: dict[str, str], user_id: str) -> None:
    for how, text in (("the beginning of the name", "ada lovel"), ("a phrase", '"ada lovelace"')):

        async def hit(text: str = text) -> Any:
            found = await tour.get("/api/v1/search", person, index="users", q=text)
            return next((item for item in found["items"] if item["id"] == user_id), None)

        item = await tour.until(f"finding the person by {how}", hit)
        marked = next(each["html"] for each in item["highlights"] if each["field"] == "name")
        print(f"found by {how}: {marked}")
    nothing = await tour.get("/api/v1/search", person, index="users", q='"lovelace ada"')
    print(f"found by the words in the wrong order: {nothing['total']}")


async def numbers(tour: Tour, person: dict[str, str], admin: dict[str, str]) -> None:
    name = f"tour.taken.{secrets.token_hex(6)}"
    events = [
        {"name": name, "message_id": f"{name}.{number}", "properties": {"plan": plan}}
        for number, plan in enumerate(("team", "team", "solo", "team", "solo"))
    ]
    for _ in range(2):
        receipt = (await tour.ask("POST", "/api/v1/analytics/events", 202, json=events, headers=person)).json()
        print(f"tracked: {receipt['accepted']} accepted, {receipt['duplicate']} known already")

    async def counted() -> Any:
        trend = await tour.get("/api/v1/analytics/trends", admin, name=name, by="plan")
        return trend if trend["total"] == len(events) else None

    trend = await tour.until("counting what was tracked", counted)
    lines = ", ".join(f"{each['value']} {each['total']}" for each in trend["series"])
    people = await tour.get("/api/v1/analytics/trends", admin, name=name, measure="people")
    print(f"trend: {trend['total']} events by plan: {lines}; people: {people['total']}")


async def webhook(tour: Tour, receiver: Receiver, secret: str, user_id: str) -> None:
    """Others may register meanwhile: wait for the message about the person of the tour."""

    async def arrived() -> Any:
        for each in receiver.requests:
            message = json.loads(each.body)
            if message["data"]["user_id"] == user_id:
                return each, message["type"]
        return None

    request, kind = await tour.until(f"the webhook (a receiver on this machine is allowed by {RECEIVERS})", arrived)
    request.verify(secret)
    print(f"webhook: {kind}, signature verified")


async def take(url: str, size: int, email: str, password: str) -> None:
    """Take the whole tour; raises `Stop`."""
    timeout = httpx.Timeout(PATIENCE)
    async with httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False) as http, Receiver() as receiver:
        tour = Tour(http)
        await tour.ask("GET", "/health/live")
        admin = await administrator(tour, email, password)
        made = await endpoint(tour, admin, receiver.url)
        try:
            user_id, person = await registration(tour)
            await preferences(tour, person)
            await avatar(tour, person)
            await big_file(tour, person, size)
            await search(tour, person, user_id)
            await numbers(tour, person, admin)
            await webhook(tour, receiver, made["secret"], user_id)
        finally:
            await tour.tidy(f"/api/v1/webhooks/endpoints/{made['endpoint']['id']}", admin)


def main() -> None:
    parser = argparse.ArgumentParser(description="A tour of a running platform.")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="where the host answers")
    parser.add_argument("--size", type=int, default=200, help="size of the big file in MB, at least 2")
    parser.add_argument("--admin-email", default="", help="an administrator; one is made if left out")
    parser.add_argument("--admin-password", default="", help="the administrator's password")
    given = parser.parse_args()
    if given.size < 2:
        parser.error("--size must be at least 2")
    try:
        asyncio.run(take(given.url, given.size, given.admin_email, given.admin_password))
    except Stop as stop:
        sys.exit(f"tour: {stop}")
    except NotVerified as error:
        sys.exit(f"tour: the webhook's signature is wrong: {error}")


if __name__ == "__main__":
    main()
