"""Refreshes that meet each other and the end of their session on three replicas of auth, which share one database."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Iterator
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest

from orion_core.testing.ports import free_ports
from orion_core.testing.processes import Processes

pytestmark = pytest.mark.processes

AUTH = "/api/v1/auth"
REPLICAS = 3
RACES = 200
RACES_WITHOUT_GRACE = 50
AT_ONCE = 10


@pytest.fixture(scope="module", params=["10", "0"], ids=["with grace", "without"])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Three processes that serve auth, and how long their grace window is."""
    env = {"ORION_AUTH_REFRESH_GRACE": request.param}
    with Processes(tmp_path_factory.mktemp("replicas"), ["auth"], env=env, start=False) as processes:
        names = [f"auth-{number}" for number in range(REPLICAS)]
        for name, port in zip(names, free_ports(REPLICAS), strict=True):
            processes.ports[name] = port
            processes.launch("auth", ORION_PORT=str(port))
            processes.running[name] = processes.running.pop("auth")
        for name in names:
            processes.wait_ready(name)
        yield processes


class Replicas:
    """Asks a replica at random, reproducibly."""

    def __init__(self, deployment: Processes, client: httpx.AsyncClient, rng: random.Random) -> None:
        self.urls = [deployment.url(f"auth-{number}") for number in range(REPLICAS)]
        self.grace = deployment.env["ORION_AUTH_REFRESH_GRACE"] != "0"
        self.rng = rng
        self._client = client

    async def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        answer = await self._client.request(method, f"{self.rng.choice(self.urls)}{AUTH}{path}", **given)
        assert answer.status_code < 500, answer.text
        return answer

    async def sign_up(self) -> dict[str, Any]:
        email = f"person-{secrets.token_hex(8)}@example.org"
        answer = await self.ask("POST", "/register", json={"email": email, "password": "correct horse battery"})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def refresh(self, token: str) -> httpx.Response:
        return await self.ask("POST", "/refresh", json={"refresh_token": token})

    async def statuses(self, access_token: str) -> set[int]:
        """What each replica answers to this access token."""
        headers = {"authorization": f"Bearer {access_token}"}
        answers = await asyncio.gather(*(self._client.get(f"{url}{AUTH}/me", headers=headers) for url in self.urls))
        return {answer.status_code for answer in answers}


@pytest.fixture
def replicas(deployment: Processes, orion_runner: asyncio.Runner) -> Iterator[Replicas]:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    limits = httpx.Limits(max_connections=60)
    client = httpx.AsyncClient(trust_env=False, timeout=60, limits=limits)
    yield Replicas(deployment, client, random.Random(seed))
    orion_runner.run(client.aclose())


def sid(tokens: dict[str, Any]) -> UUID:
    return UUID(jwt.decode(tokens["access_token"], options={"verify_signature": False})["sid"])


async def test_of_fifty_parallel_uses_on_three_replicas_one_rotates(replicas: Replicas) -> None:
    """A21, A22: all fifty answers are the same pair, or without a grace window one counts."""
    first = await replicas.sign_up()

    answers = await asyncio.gather(*(replicas.refresh(first["refresh_token"]) for _ in range(50)))

    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert {answer.json()["code"] for answer in answers if answer.status_code != 200} <= {"auth.invalid_grant"}
    assert len({(each["access_token"], each["refresh_token"]) for each in won}) == 1
    if replicas.grace:
        assert len(won) == 50
        assert await replicas.statuses(won[0]["access_token"]) == {200}
        assert (await replicas.refresh(won[0]["refresh_token"])).status_code == 200
    else:
        assert len(won) == 1
        assert await replicas.statuses(won[0]["access_token"]) == {401}


async def test_over_200_races_on_three_replicas_with_what_ends_a_session_no_live_token_survives(
    replicas: Replicas,
) -> None:
    """A28."""
    won = 0
    for turn in range(0, RACES if replicas.grace else RACES_WITHOUT_GRACE, AT_ONCE):
        won += sum(await asyncio.gather(*(race(replicas, turn + number) for number in range(AT_ONCE))))
    assert won, "no refresh came first: these were no races"


async def race(replicas: Replicas, turn: int) -> bool:
    """Let refreshes meet the end of their session; whether one was answered."""
    first = await replicas.sign_up()
    headers = {"authorization": f"Bearer {first['access_token']}"}

    async def refreshes() -> list[dict[str, Any]]:
        """Twice in a row, as far as that goes."""
        found: list[dict[str, Any]] = []
        token = first["refresh_token"]
        for _ in range(2):
            answer = await replicas.refresh(token)
            if answer.status_code != 200:
                break
            found.append(answer.json())
            token = found[-1]["refresh_token"]
        return found

    async def ends() -> list[dict[str, Any]]:
        match turn % 3:
            case 0:
                answer = await replicas.ask("POST", "/logout", json={"refresh_token": first["refresh_token"]})
            case 1:
                answer = await replicas.ask("DELETE", f"/sessions/{sid(first)}", headers=headers)
            case _:  # what a change of the password does to sessions
                answer = await replicas.ask("DELETE", "/sessions", headers=headers)
        # Without a grace window two refreshes may have ended the session before.
        assert answer.status_code == 204 or (answer.status_code == 401 and not replicas.grace)
        return []

    racers: list[Awaitable[list[dict[str, Any]]]] = [refreshes() for _ in range(replicas.rng.choice([1, 2, 3]))]
    racers.insert(replicas.rng.randrange(len(racers) + 1), ends())
    issued = [tokens for found in await asyncio.gather(*racers) for tokens in found]

    for tokens in (first, *issued):
        assert await replicas.statuses(tokens["access_token"]) == {401}
        refused = await replicas.refresh(tokens["refresh_token"])
        assert (refused.status_code, refused.json()["code"]) == (400, "auth.invalid_grant")
    return bool(issued)
