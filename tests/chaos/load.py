"""People who register all the time, whatever happens to the other side, and remember what they were answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Self

import attrs
import httpx

from orion_core.testing.engines import until

PASSWORD = "correct horse battery staple"
EXPECTED = {201, 502, 503, 504}
"""Done, or nobody can say: anything else is a defect, a 500 and a 409 for a new address included."""


@attrs.define(eq=False)
class Attempt:
    """One registration. `status` is 0 when no answer came, -1 when nobody was there to ask."""

    email: str
    status: int | None = None
    user_id: str = ""
    detail: str = ""


@attrs.define
class Crowd:
    """So many clients at once, each with one request in flight; every attempt uses a new address."""

    url: str
    name: str
    size: int = 6
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
        return [each for each in self.attempts if (each.status or 0) > 0 and each.status not in EXPECTED]

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
        try:
            answer = await client.post("/api/v1/auth/register", json=body)
        except httpx.ConnectError:
            attempt.status = -1
        except httpx.HTTPError as error:
            attempt.status, attempt.detail = 0, repr(error)
        else:
            attempt.status = answer.status_code
            if answer.status_code == 201:
                attempt.user_id = answer.json()["user"]["id"]
            else:
                attempt.detail = answer.text
