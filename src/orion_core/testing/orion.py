"""The object behind the `orion` fixture: a whole platform for one test, reached locally, by wire or in processes."""

from __future__ import annotations

import abc
import secrets
from contextlib import AbstractContextManager
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import UUID

import httpx

from orion_core.context import SYSTEM, Actor, Context, acting, use
from orion_core.contract import Contract
from orion_core.contracts.auth import Auth, Register
from orion_core.testing.person import Person

C = TypeVar("C", bound=Contract)
T = TypeVar("T")
Reach = Literal["local", "wire", "processes"]
PASSWORD = "correct horse battery staple"


class Orion(abc.ABC):
    """A running platform as a test sees it; the same in every reach."""

    reach: Reach
    http: httpx.AsyncClient
    """A client of the platform's public HTTP face."""
    mail_folder: Path

    @abc.abstractmethod
    def service(self, contract: type[C]) -> C:
        """What `contract` promises, reached as the test's reach says."""

    @abc.abstractmethod
    async def settle(self) -> None:
        """Wait until no event, delivery or due job is left; raises `NotSettled` if that does not come."""

    @abc.abstractmethod
    async def told(self, cls: type[T]) -> list[T]:
        """All events of the class `cls` that were published so far, oldest first."""

    @abc.abstractmethod
    async def advance(self, by: timedelta) -> None:
        """Let `by` pass at once. Raises RuntimeError for processes, whose clocks are the machine's."""

    async def sign_up(self, email: str = "", password: str = PASSWORD, name: str = "") -> Person:
        """Register somebody through HTTP, under a new address unless one is given."""
        email = email or f"person-{secrets.token_hex(6)}@example.org"
        body = {"email": email, "password": password, "name": name}
        answer = await self.http.post("/api/v1/auth/register", json=body)
        if answer.status_code != 201:
            raise AssertionError(f"registration answered {answer.status_code}: {answer.text}")
        return _person(answer.json(), password)

    async def sign_in(self, email: str, password: str = PASSWORD) -> Person:
        """Log somebody in through HTTP."""
        answer = await self.http.post("/api/v1/auth/login", json={"email": email, "password": password})
        if answer.status_code != 200:
            raise AssertionError(f"login answered {answer.status_code}: {answer.text}")
        return _person(answer.json(), password)

    async def admin(self) -> Person:
        """A new administrator, signed in."""
        email = f"admin-{secrets.token_hex(6)}@example.org"
        with use(Context(actor=SYSTEM)):
            await self.service(Auth).create_admin(Register(email, PASSWORD, "Admin"))
        return await self.sign_in(email)

    def acting_as(self, who: UUID | Person | Actor, *permissions: str) -> AbstractContextManager[Any]:
        """Call services as this person, holding `permissions`."""
        if isinstance(who, Actor):
            return acting(who)
        person = who.id if isinstance(who, Person) else who
        return acting(Actor("user", str(person), permissions=permissions))

    async def mails(self, address: str = "") -> list[EmailMessage]:
        """All mail sent so far, oldest first, to `address` if given."""
        found = []
        for path in sorted(self.mail_folder.glob("*.eml")):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            if not address or address.casefold() in str(message["To"]).casefold():
                found.append(message)
        return found


def _person(document: dict[str, Any], password: str) -> Person:
    return Person(
        UUID(document["user"]["id"]),
        document["user"]["email"],
        password,
        document["access_token"],
        document["refresh_token"],
    )
