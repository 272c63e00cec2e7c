"""What is outside: an administrator who looks at everything over HTTP, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import httpx
from load import BUCKET, PASSWORD, TRACKED, Attempt
from stack import Stack

from orion_core.testing.receiver import Receiver, response
from orion_core.webhook_verifier import NotVerified

LOOKS = 20
"""How many people are looked for one by one at each check, beside the total."""


class Outside:
    """Prepared before the load begins; a context manager."""

    def __init__(self, stack: Stack) -> None:
        self.email = f"admin-{secrets.token_hex(4)}@example.org"
        self.receiver = Receiver()
        self.receiving = 0
        self._stack = stack
        self._headers: dict[str, str] = {}
        self._secret = ""
        self._checked: set[str] = set()

    async def __aenter__(self) -> Self:
        await self.receiver.__aenter__()
        self.receiver.then_do(self._slowly)
        await asyncio.to_thread(self._stack.run, "users", "create-admin", "--email", self.email, "--password", PASSWORD)
        self._http = httpx.AsyncClient(base_url=self._stack.url, trust_env=False, timeout=30)
        await self._sign_in()
        await self._make("storage/buckets", {"name": BUCKET, "visibility": "public"})
        await self._make(f"storage/buckets/{BUCKET}/grants", {"subject": "everybody", "right": "write"})
        wanted = {"url": self.receiver.url, "event_types": ["user.registered"]}
        self._secret = (await self._make("webhooks/endpoints", wanted))["secret"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()
        await self.receiver.__aexit__(kind, error, trace)

    async def stir(self) -> None:
        """Have index and roll-ups made anew, if somebody is there to do it."""
        now = datetime.now(UTC)
        hours = {"start": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
        for path, body in (("search/admin/indexes/users/rebuild", None), ("analytics/admin/rebuilds", hours)):
            try:
                answer = await self._http.post(f"/api/v1/{path}", json=body, headers=self._headers)
            except httpx.HTTPError:
                continue
            assert answer.status_code in (202, 502, 503, 504), (path, answer.text)

    async def broken(self, attempts: Sequence[Attempt], accounts: Mapping[str, str]) -> list[str]:
        """Every way in which what can be seen from outside differs from what must be, in words.

        `accounts` are all people there are: addresses by id.
        """
        await self._sign_in()
        return [
            *await self._files(attempts),
            *await self._found(accounts),
            *await self._trend(attempts),
            *self._messages(accounts),
        ]

    async def _files(self, attempts: Sequence[Attempt]) -> list[str]:
        """An upload that was answered 201 is there, whole; any other is whole or absent."""
        problems = []
        for attempt in attempts:
            if attempt.upload is None or attempt.email in self._checked:
                continue
            self._checked.add(attempt.email)
            answer = await self._http.get(f"/api/v1/storage/buckets/{BUCKET}/objects/{attempt.email}")
            if answer.status_code == 404 and attempt.upload != 201:
                continue
            if answer.status_code != 200 or hashlib.sha256(answer.content).digest() != attempt.digest:
                what = f"{answer.status_code} with {len(answer.content)} bytes"
                problems.append(f"the file of {attempt.email} was answered {attempt.upload} and is {what}")
        collected = await self._make("storage/admin/collect?dry_run=true", None)
        return problems + [f"the bytes of {key} are missing" for key in collected["missing"]]

    async def _found(self, accounts: Mapping[str, str]) -> list[str]:
        """Search finds everybody once."""
        problems = []
        total = (await self._read("search", index="users", limit=0))["total"]
        if total != len(accounts):
            problems.append(f"search finds {total} people of {len(accounts)}")
        for user_id, email in list(accounts.items())[-LOOKS:]:
            for asked in ({"filter": f'email eq "{email}"'}, {"q": f'"{email}"'}):
                items = (await self._read("search", index="users", **asked))["items"]
                if [item["id"] for item in items] != [user_id]:
                    problems.append(f"search finds {len(items)} instead of {email} by {asked}")
        tasks = (await self._read("search/admin/tasks", limit=200))["items"]
        return problems + [f"the task {task} is not done" for task in tasks if task["status"] != "succeeded"]

    async def _trend(self, attempts: Sequence[Attempt]) -> list[str]:
        """The trend shows what was tracked."""
        total = (await self._read("analytics/trends", name=TRACKED, interval="hour"))["total"]
        least = sum(attempt.tracked == 202 for attempt in attempts)
        most = sum(attempt.tracked is not None for attempt in attempts)
        return [] if least <= total <= most else [f"{least} to {most} events were tracked and {total} are counted"]

    def _messages(self, accounts: Mapping[str, str]) -> list[str]:
        """Everybody's registration arrived, signed, under one id."""
        problems: list[str] = []
        found: dict[str, set[str]] = {}
        for arrived in self.receiver.requests:
            try:
                message_id = arrived.verify(self._secret, now=float(arrived.headers["webhook-timestamp"]))
            except NotVerified as error:
                problems.append(f"a webhook does not verify: {error}")
                continue
            found.setdefault(json.loads(arrived.body)["data"]["user_id"], set()).add(message_id)
        # The administrator registered before there was an endpoint, and may have been told of before or after.
        due = {user_id for user_id, email in accounts.items() if email != self.email}
        problems += [f"no webhook told of {accounts[user_id]}" for user_id in due - found.keys()]
        problems += [f"a webhook told of {user_id}, who has no account" for user_id in found.keys() - accounts.keys()]
        return problems + [f"webhooks told of {key} as {ids}" for key, ids in found.items() if len(ids) > 1]

    async def _slowly(self, writer: asyncio.StreamWriter) -> None:
        """Take a moment to answer, so that kills come in between."""
        self.receiver.then_do(self._slowly)
        self.receiving += 1
        try:
            await asyncio.sleep(0.3)
            writer.write(response(200))
            await writer.drain()
        finally:
            self.receiving -= 1

    async def _sign_in(self) -> None:
        body = {"email": self.email, "password": PASSWORD}
        self._headers = {}
        answer = await self._make("auth/login", body, 200)
        self._headers = {"authorization": f"Bearer {answer['access_token']}"}

    async def _make(self, path: str, body: Any, *wanted: int) -> Any:
        answer = await self._http.post(f"/api/v1/{path}", json=body, headers=self._headers)
        assert answer.status_code in (wanted or (200, 201)), (path, answer.text)
        return answer.json()

    async def _read(self, path: str, **params: Any) -> Any:
        answer = await self._http.get(f"/api/v1/{path}", params=params, headers=self._headers)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()
