"""Health: what makes a process unready, what is only a warning, and how often anybody is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from small_app import browser

from orion_core.ports.check import Check
from orion_core.web import health as module
from orion_core.web.health import Health, Supporting


def says(status: Any, calls: list[str] | None = None) -> Any:
    """A probe that finds `status`."""

    async def probe() -> Check:
        if calls is not None:
            calls.append(status)
        return Check(status, "the address is 10.0.0.5:5432")

    return probe


async def hangs() -> Check:
    await asyncio.Event().wait()
    return Check("pass")


async def breaks() -> Check:
    raise RuntimeError("10.0.0.5:5432 refused")


async def ready(**probes: Any) -> tuple[int, dict[str, Any]]:
    """What /health/ready answers."""
    async with browser(Health({"auth": probes}, started=True)) as client:
        answer = await client.get("/health/ready")
    assert "10.0.0.5" not in answer.text, "a stranger learns no address"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/health+json"
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("probe", "status", "found"),
    [
        (says("pass"), 200, "pass"),
        (says("warn"), 200, "warn"),
        (says("fail"), 503, "fail"),
        (breaks, 503, "fail"),
        (Supporting(says("fail")), 200, "warn"),
        (Supporting(breaks), 200, "warn"),
    ],
)
async def test_only_what_is_critical_makes_a_process_unready(probe: Any, status: int, found: str) -> None:
    assert await ready(database=says("pass"), other=probe) == (
        status,
        {"status": found, "checks": {"auth:database": [{"status": "pass"}], "auth:other": [{"status": found}]}},
    )


@pytest.mark.parametrize(("probe", "status"), [(hangs, 503), (Supporting(hangs), 200)])
async def test_a_silent_dependency_is_given_up_in_time(
    probe: Any, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker or cache that hangs is still no reason to take the process out of service."""
    monkeypatch.setattr(module, "LIMIT", 0.01)

    assert (await ready(bus=probe))[0] == status


async def test_a_process_is_unready_before_it_has_started_and_while_it_drains() -> None:
    health = Health({"auth": {}})
    async with browser(health) as client:
        starting = [(await client.get(f"/health/{path}")).status_code for path in ("live", "startup", "ready")]
        health.started = True
        started = [(await client.get(f"/health/{path}")).status_code for path in ("live", "startup", "ready")]
        health.draining = True
        draining = [(await client.get(f"/health/{path}")).status_code for path in ("live", "startup", "ready")]

    assert (starting, started, draining) == ([200, 503, 503], [200, 200, 200], [200, 200, 503])


async def test_however_many_ask_a_dependency_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    health = Health({"auth": {"database": says("pass", calls)}}, started=True)
    async with browser(health) as client:
        await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))
        await client.get("/health")
        assert len(calls) == 1
        monkeypatch.setattr(module, "FRESH", 0.0)
        await client.get("/health/ready")

    assert len(calls) == 2


async def test_one_who_gives_up_does_not_spoil_it_for_the_others() -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def slow() -> Check:
        started.set()
        await go.wait()
        return Check("pass")

    health = Health({"auth": {"database": slow}}, started=True)
    first = asyncio.ensure_future(health.own())
    await started.wait()
    second = asyncio.ensure_future(health.own())
    first.cancel()
    go.set()

    assert (await second)["auth"]["database"].status == "pass"


async def test_a_check_that_still_runs_ends_with_the_process() -> None:
    """A task that nobody awaits would be destroyed with the loop, loudly."""
    health = Health({"auth": {"database": hangs}}, started=True)
    asking = asyncio.ensure_future(health.own())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await health.aclose()

    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [task.get_name() for task in asyncio.all_tasks() if "health" in task.get_name()] == []


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (httpx.Response(200, json={"status": "pass"}), "pass"),
        (httpx.Response(200, json={"status": "warn"}), "warn"),
        (httpx.Response(503, json={"status": "fail"}), "fail"),
        (httpx.Response(200, json=["pass"]), "warn"),
        (httpx.Response(200, json={"status": {"a": 1}}), "warn"),
        (httpx.Response(200, text="<html>"), "fail"),
    ],
)
async def test_the_aggregate_survives_whatever_a_peer_answers(answer: httpx.Response, found: str) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        health = Health({"auth": {}}, {"users": ("http://users:3002",)}, ("search",), client, started=True)

        assert await health.all() == {"auth": "pass", "search": "warn", "users": found}


async def test_one_ready_copy_of_a_peer_is_enough() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "gone":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"status": "pass"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        health = Health({}, {"users": ("http://gone", "http://there")}, (), client, started=True)

        assert await health.all() == {"users": "pass"}


def peers(found: dict[str, Any]) -> httpx.MockTransport:
    """Peers by host: what they answer, or why they do not."""

    def answer(request: httpx.Request) -> httpx.Response:
        told = found[request.url.host]
        if isinstance(told, Exception):
            raise told
        return httpx.Response(200, json=told | {"token": request.headers.get("authorization", "")})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("critical", "away", "status", "overall"),
    [
        (frozenset({"auth"}), "users", 200, "warn"),
        (frozenset({"auth"}), "auth", 503, "fail"),
        (frozenset({"auth", "users"}), "users", 503, "fail"),
        (frozenset(), "auth", 200, "warn"),
        (None, "users", 503, "fail"),
    ],
)
async def test_only_a_critical_service_fails_the_deployment(
    critical: frozenset[str] | None, away: str, status: int, overall: str
) -> None:
    """G80: the failed one is still named as failed."""
    found = {name: {"status": "pass"} for name in ("auth", "users")} | {away: httpx.ConnectError("refused")}
    async with httpx.AsyncClient(transport=peers(found)) as client:
        urls = {"auth": ("http://auth",), "users": ("http://users",)}
        health = Health({"gateway": {}}, urls, (), client, critical, started=True)
        async with browser(health) as asking:
            answer = await asking.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (status, overall)
    assert answer.json()["services"] == {"auth": "pass", "gateway": "pass", "users": "pass"} | {away: "fail"}
    assert answer.headers["content-type"] == "application/health+json"


async def test_details_are_for_administrators() -> None:
    """G80: latency and reason, those of peers too, which are shown the same token."""

    async def shown(scope: Any) -> bool:
        return (b"authorization", b"Bearer admin") in scope["headers"]

    theirs = {"status": "warn", "checks": {"users:bus": [{"status": "warn", "output": "refused"}]}}
    async with httpx.AsyncClient(transport=peers({"users": theirs})) as client:
        probes = {"auth": {"database": says("pass"), "mail": Supporting(breaks)}}
        health = Health(probes, {"users": ("http://users",)}, (), client, shown=shown, started=True)
        async with browser(health) as asking:
            plain, ready = await asking.get("/health"), await asking.get("/health/ready")
            headers = {"authorization": "Bearer admin"}
            full, own = [await asking.get(path, headers=headers) for path in ("/health", "/health/ready")]

    assert set(plain.json()) == {"status", "services"}
    assert ready.json()["checks"]["auth:mail"] == [{"status": "warn"}]
    assert full.json()["services"] == {"auth": "warn", "users": "warn"}
    assert full.json()["checks"]["users:bus"] == [{"status": "warn", "output": "refused"}]
    [mail] = full.json()["checks"]["auth:mail"]
    assert (mail["output"], mail["observedUnit"]) == ("RuntimeError: 10.0.0.5:5432 refused", "ms")
    assert [own.json()["checks"][key] for key in ("auth:mail",)] == [[mail]]


async def test_all_services_are_asked_at_once_and_a_silent_one_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """G80: at most so long each, replicas included; the others are not held up."""
    monkeypatch.setattr(module, "AGGREGATE_LIMIT", 0.05)
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host.startswith("silent"):
            await asyncio.Event().wait()
        while len(asked) < 4:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        return httpx.Response(200, json={"status": "pass"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        urls = {"auth": ("http://silent1", "http://silent2"), "users": ("http://there",), "search": ("http://too",)}
        health = Health({}, urls, (), client, started=True)

        assert await health.all() == {"auth": "fail", "search": "pass", "users": "pass"}
