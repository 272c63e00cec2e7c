"""Servers and processes go away and come back under load: people notice as little as can be, and nothing is lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from deployment import Deployment
from invariants import broken, settled
from load import Crowd

from orion_core.testing.engines import until
from orion_core.testing.person import Person
from orion_core.testing.processes import Processes

pytestmark = pytest.mark.processes
both = pytest.mark.parametrize("how", ["refuse", "stall"])
ME = "/api/v1/users/me"
READY = "/health/ready"


@asynccontextmanager
async def connected(processes: Processes) -> AsyncIterator[Processes]:
    """The deployment with clients in the event loop of the test."""
    await processes.connect()
    try:
        yield processes
    finally:
        await processes.disconnect()


def crowd(processes: Processes) -> Crowd:
    return Crowd(processes.url("gateway"), f"outage-{secrets.token_hex(4)}", size=2, busy=False)


async def nothing_lost(processes: Processes, people: Crowd) -> None:
    """Wait until all has settled with no new traffic, and look at everything."""
    await people.pause()
    databases = processes._databases
    # An outage leaves jobs that wait for their retry, longer than `settle` looks ahead.
    await until(lambda: settled(databases), "settling after an outage", 60.0)
    emails = {row["email"] for row in await databases["auth"].fetch("SELECT email FROM users")}
    mails = sorted(processes.mail_folder.glob("*.eml"))
    assert await broken(databases, mails, people, *emails) == []
    unanswered = [attempt for attempt in people.attempts if attempt.status not in (201, 503)]
    assert unanswered == []


def unavailable(answer: httpx.Response) -> bool:
    """Whether `answer` is a refusal as it should be: a problem document that says when to ask again."""
    document = answer.json()
    return (
        answer.status_code == 503
        and answer.headers["content-type"] == "application/problem+json"
        and int(answer.headers["retry-after"]) > 0
        and document["status"] == 503
        and document["type"] == f"urn:orion:{document['code']}"
    )


async def has_profile(processes: Processes, person: Person) -> None:
    """Wait for the profile of `person`; until then the answer is that it is being made, or that nobody can say."""

    async def made() -> bool:
        answer = await processes.http.get(ME, headers=person.headers)
        document = answer.json()
        if answer.status_code == 200:
            assert document["user_id"] == str(person.id)
        else:
            assert document["code"] == "users.profile_pending" or unavailable(answer), answer.text
        return answer.status_code == 200

    await until(made, f"the profile of {person.email}", 30.0)


# Servers


@both
async def test_without_the_broker_people_register_and_all_arrives_later(
    deployment: Deployment, seconds: float, how: str
) -> None:
    """E2, ET5 and ET6: with no new traffic, exactly once, and no attempt was spent."""
    async with connected(deployment.processes) as processes, crowd(processes) as people:
        await people.flows()
        before = len(people.registered)
        deployment.broker.begin(how)
        async with httpx.AsyncClient(base_url=processes.url("auth"), trust_env=False) as auth:
            await asyncio.sleep(seconds)
            ready = await auth.get(READY)
            assert ready.status_code == 200
            if how == "refuse":
                assert ready.json()["status"] == "warn"
                checks = ready.json()["checks"]
                assert (checks["auth:database"], checks["auth:bus"]) == ([{"status": "pass"}], [{"status": "warn"}])
            assert (await auth.get("/health/live")).status_code == 200
        await people.flows()
        await people.pause()
        waiting = await processes.rows("auth", "SELECT attempts FROM orion_outbox WHERE published_ms IS NULL")
        assert len(waiting) >= len(people.registered) - before > 0
        assert people.statuses.keys() == {201}
        deployment.broker.heal()
        await nothing_lost(processes, people)
        spent = await processes.rows("auth", "SELECT name FROM orion_outbox WHERE attempts > 0")
        assert spent == []


@both
async def test_without_the_cache_everything_is_answered(deployment: Deployment, seconds: float, how: str) -> None:
    async with connected(deployment.processes) as processes, crowd(processes) as people:
        person = await processes.sign_up()
        await has_profile(processes, person)
        deployment.cache.begin(how)
        try:
            await people.flows()
            again = await processes.sign_in(person.email)
            for each in (person, again):
                answer = await processes.http.get(ME, headers=each.headers)
                assert (answer.status_code, answer.json()["email"]) == (200, person.email)
            newcomer = await processes.sign_up()
            await has_profile(processes, newcomer)
            await asyncio.sleep(seconds)
            await people.flows()
        finally:
            deployment.cache.heal()
        await nothing_lost(processes, people)
        assert people.statuses.keys() == {201}


@both
async def test_without_the_database_the_answer_is_503_and_all_goes_on_afterwards(
    deployment: Deployment, seconds: float, how: str
) -> None:
    async with connected(deployment.processes) as processes, crowd(processes) as people:
        person = await processes.sign_up()
        await has_profile(processes, person)
        await people.flows()
        for fault in (deployment.database, deployment.users_database):
            fault.begin(how)
        try:

            async def refused() -> bool:
                body = {"email": f"{secrets.token_hex(6)}@example.org", "password": "correct horse battery staple"}
                answer = await processes.http.post("/api/v1/auth/register", json=body)
                assert answer.status_code == 201 or unavailable(answer), answer.text
                return unavailable(answer)

            await until(refused, "the first refusal", 30.0)
            assert await refused()
            body = {"email": person.email, "password": person.password}
            assert unavailable(await processes.http.post("/api/v1/auth/login", json=body))
            assert unavailable(await processes.http.get(ME, headers=person.headers))
            async with httpx.AsyncClient(base_url=processes.url("auth"), trust_env=False, timeout=10) as auth:

                async def not_ready() -> bool:
                    return (await auth.get(READY)).status_code == 503

                # What a check found may be a second old.
                await until(not_ready, "readiness to notice", 10.0)
                assert (await auth.get("/health/live")).status_code == 200
            await asyncio.sleep(seconds)
        finally:
            for fault in (deployment.database, deployment.users_database):
                fault.heal()
        await people.flows()
        await has_profile(processes, person)
        await nothing_lost(processes, people)


@both
async def test_a_listener_without_its_database_waits_and_spends_no_attempt(
    deployment: Deployment, seconds: float, how: str
) -> None:
    """E5: retries are for listeners that fail; here they would be used up long before the database is back."""
    async with connected(deployment.processes) as processes, crowd(processes) as people:
        deployment.users_database.begin(how)
        try:
            person = await processes.sign_up()
            await people.flows()
            await asyncio.sleep(seconds)
            assert unavailable(await processes.http.get(ME, headers=person.headers))
        finally:
            deployment.users_database.heal()
        await has_profile(processes, person)
        await nothing_lost(processes, people)
        assert people.statuses.keys() == {201}


# Processes


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_what_a_service_missed_arrives_when_it_is_back(deployment: Deployment, end: str) -> None:
    """U2."""
    async with connected(deployment.processes) as processes, crowd(processes) as people:
        await people.flows()
        await asyncio.to_thread(getattr(processes, end), "users")
        try:
            person = await processes.sign_up()
            assert unavailable(await processes.http.get(ME, headers=person.headers))
            await people.flows()
        finally:
            await asyncio.to_thread(processes.start, "users")
        await has_profile(processes, person)
        await nothing_lost(processes, people)
        assert people.statuses.keys() == {201}


async def test_a_service_that_never_ran_before_gets_what_was_told_before(tmp_path: Path) -> None:
    """E8: the others declare its queues."""
    processes = Processes(tmp_path, ["gateway", "auth", "users"], start=False)
    await asyncio.to_thread(processes.__enter__)
    try:
        await asyncio.to_thread(processes.start, "gateway", "auth")
        async with connected(processes):
            person = await processes.sign_up()
            assert unavailable(await processes.http.get(ME, headers=person.headers))
            await asyncio.to_thread(processes.start, "users")
            await has_profile(processes, person)
    finally:
        await asyncio.to_thread(processes.__exit__, None, None, None)


async def test_a_restart_of_the_gateway_loses_no_session_and_no_answer_of_the_others(deployment: Deployment) -> None:
    """E14: what it was asked is answered before it ends."""
    async with connected(deployment.processes) as processes, crowd(processes) as people:
        person = await processes.sign_up()
        await has_profile(processes, person)
        await people.flows()
        assert await asyncio.to_thread(processes.stop, "gateway") == 0
        direct = await processes.http.get(f"{processes.url('users')}{ME}", headers=person.headers)
        assert direct.status_code == 200
        await asyncio.to_thread(processes.start, "gateway")
        await people.flows()
        await has_profile(processes, person)
        # Only those that came while nobody was there went without an answer.
        assert {attempt.status for attempt in people.attempts if attempt.status is not None} <= {201, -1}
