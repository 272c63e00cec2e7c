"""People who register, keep a file and track an event, whatever happens to the other side.

They remember what they were answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Self

import attrs
import httpx

from orion_core.testing.engines import until

PASSWORD = "correct horse battery staple"
BUCKET = "chaos"
TRACKED = "chaos.done"
PIECES = 8
PIECE = 32 * 1024
EXPECTED = {201, 202, 502, 503, 504}
"""Done, or nobody can say: anything else is a defect, a 500 and a 409 for a new address included."""


@attrs.define(eq=False)
class Attempt:
    """One registration, and what its person did then: an upload and an event, None if it did not come to that.

    `status`, `upload` and `tracked` are 0 when no answer came, -1 when nobody was there to ask. `doing` is the step
    that is under way.
    """

    email: str
    status: int | None = None
    user_id: str = ""
    upload: int | None = None
    digest: bytes = b""
    tracked: int | None = None
    doing: str = "registration"
    detail: str = ""

    @property
    def name(self) -> str:
        """The address without its domain."""
        return self.email.partition("@")[0]


@attrs.define
class Crowd:
    """So many clients at once, each with one request in flight; every attempt uses a new address.

    A crowd that is not `busy` only registers.
    """

    url: str
    name: str
    size: int = 6
    busy: bool = True
    attempts: list[Attempt] = attrs.field(factory=list)
    in_flight: set[Attempt] = attrs.field(factory=set)
    _going: asyncio.Event = attrs.field(factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = attrs.field(factory=list)

    async def __aenter__(self) -> Self:
        self._going.set()
        self._tasks = [asyncio.create_task(self._keep_registering(number)) for number in range(self.size)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def pause(self) -> None:
        """Let what is in flight end, and begin nothing more."""
        self._going.clear()

        async def ended() -> bool:
            return not self.in_flight

        await until(ended, "the end of every registration in flight", 30.0)
        for task in self._tasks:
            if task.done():
                task.result()

    async def flows(self) -> None:
        """Wait until somebody who begins after this is registered."""
        begun = len(self.attempts)

        async def done() -> bool:
            return any(attempt.status == 201 for attempt in self.attempts[begun:])

        await until(done, "a registration", 60.0)

    def resume(self) -> None:
        """Go on."""
        self._going.set()

    @property
    def registered(self) -> dict[str, str]:
        """The id that each address was answered with 201."""
        return {attempt.email: attempt.user_id for attempt in self.attempts if attempt.status == 201}

    @property
    def statuses(self) -> Counter[int]:
        """How often each status came."""
        return Counter(attempt.status for attempt in self.attempts if attempt.status is not None)

    @property
    def unexpected(self) -> list[Attempt]:
        """Answers that must not be."""

        def wrong(status: int | None) -> bool:
            return (status or 0) > 0 and status not in EXPECTED

        return [each for each in self.attempts if wrong(each.status) or wrong(each.upload) or wrong(each.tracked)]

    async def _keep_registering(self, number: int) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=15) as client:
            count = 0
            while True:
                await self._going.wait()
                count += 1
                attempt = Attempt(f"{self.name}-{number}-{count}@example.org")
                self.attempts.append(attempt)
                self.in_flight.add(attempt)
                try:
                    await self._register(client, attempt)
                finally:
                    self.in_flight.discard(attempt)
                if attempt.status != 201:
                    await asyncio.sleep(0.1)

    async def _register(self, client: httpx.AsyncClient, attempt: Attempt) -> None:
        body = {"email": attempt.email, "password": PASSWORD, "name": "Ada"}
        attempt.status, answer = await _ask(client, attempt, "POST", "/api/v1/auth/register", json=body)
        if attempt.status != 201 or answer is None:
            return
        attempt.user_id = answer.json()["user"]["id"]
        if not self.busy:
            return
        headers = {"authorization": f"Bearer {answer.json()['access_token']}"}

        attempt.doing = "upload"
        content = random.Random(attempt.email).randbytes(PIECES * PIECE)
        attempt.digest = hashlib.sha256(content).digest()
        attempt.upload = 0
        path = f"/api/v1/storage/buckets/{BUCKET}/objects/{attempt.email}"
        attempt.upload, _ = await _ask(client, attempt, "PUT", path, content=_slowly(content), headers=headers)

        attempt.doing = "event"
        event = {"name": TRACKED, "message_id": attempt.name}
        path = "/api/v1/analytics/events"
        attempt.tracked = 0
        attempt.tracked, _ = await _ask(client, attempt, "POST", path, json=event, headers=headers)


async def _slowly(content: bytes) -> AsyncIterator[bytes]:
    """`content` in pieces with pauses, so that it is under way when somebody is killed."""
    for start in range(0, len(content), PIECE):
        yield content[start : start + PIECE]
        await asyncio.sleep(0.02)


async def _ask(
    client: httpx.AsyncClient, attempt: Attempt, method: str, path: str, **given: Any
) -> tuple[int, httpx.Response | None]:
    try:
        answer = await client.request(method, path, **given)
    except httpx.ConnectError:
        return -1, None
    except httpx.HTTPError as error:
        attempt.detail = repr(error)
        return 0, None
    if answer.status_code not in (201, 202):
        attempt.detail = answer.text
    return answer.status_code, answer
