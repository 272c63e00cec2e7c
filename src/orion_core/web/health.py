"""Health: is the process running, can it take traffic, how are the services behind it.

``/health/live`` touches no dependency. ``/health/startup`` is true once migrations are checked and listeners bound.
``/health/ready`` runs the checks of this process: only a service's own database and what a plugin calls critical makes
it 503; a broker that is away is a warning, because registrations go on. ``/health`` asks all services, and is 503 only
if a critical one fails. The form is that of the health check response format (draft-inadarei-api-health-check-06).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import httpx

from orion_core.background import end, spawn
from orion_core.ports.check import Check
from orion_core.web.asgi import Receive, Scope, Send, answer, header

log = logging.getLogger("orion.health")

Probe = Callable[[], Awaitable[Check]]
LIMIT = 0.9
"""Seconds that one check may take."""
FRESH = 1.0
"""Seconds for which a result is used again."""
AGGREGATE_LIMIT = 2.0
HEALTH_READ = "platform:health"
"""The permission to see why something is unwell, not only that it is."""
MEDIA_TYPE = "application/health+json"
_ORDER = {"pass": 0, "warn": 1, "fail": 2}


@attrs.frozen
class Supporting:
    """A probe of something a service works on without, as bus, cache and mail: the worst it says is a warning."""

    probe: Probe

    async def __call__(self) -> Check:
        """Run the probe."""
        return await self.probe()


@attrs.frozen
class Result:
    """One check as reported."""

    status: str
    detail: str
    latency_ms: float

    def shown(self, details: bool) -> dict[str, Any]:
        """As it stands in an answer: a stranger learns no address and no error text."""
        if not details:
            return {"status": self.status}
        output = {"output": self.detail} if self.detail else {}
        return {"status": self.status, "observedValue": self.latency_ms, "observedUnit": "ms", **output}


async def nobody(_: Scope) -> bool:
    """Shows details to no one."""
    return False


@attrs.define
class Health:
    """The checks of one process: by service, then by name. `peers` are URLs of services elsewhere, `absent` those that
    nobody serves, `critical` those without which the deployment counts as failed, None for all. `shown` says whether
    whoever sent a request may see details."""

    probes: Mapping[str, Mapping[str, Probe]] = attrs.field(factory=dict)
    peers: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    absent: tuple[str, ...] = ()
    client: httpx.AsyncClient | None = None
    critical: frozenset[str] | None = None
    shown: Callable[[Scope], Awaitable[bool]] = nobody
    started: bool = False
    draining: bool = False
    _kept: dict[str, tuple[float, Any]] = attrs.field(factory=dict, init=False)
    _asking: dict[str, asyncio.Task[Any]] = attrs.field(factory=dict, init=False)

    async def own(self) -> Mapping[str, Mapping[str, Result]]:
        """Run the checks of this process in parallel; results are at most a second old."""
        found: Mapping[str, Mapping[str, Result]] = await self._fresh("own", self._run)
        return found

    async def all(self) -> Mapping[str, str]:
        """The status of every service of the deployment, by name; results are at most a second old."""
        found: tuple[Mapping[str, str], Any] = await self._fresh("all", self._aggregate)
        return found[0]

    def overall(self, services: Mapping[str, str]) -> str:
        """What the states of all services mean for the deployment: only a critical one can fail it."""
        return _worst(
            "warn" if state == "fail" and self.critical is not None and name not in self.critical else state
            for name, state in services.items()
        )

    async def aclose(self) -> None:
        """End the checks that still run."""
        await end(*self._asking.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the health paths."""
        path = scope["path"]
        if path == "/health/live":
            await self._answer(send, "pass", {})
        elif path == "/health/startup":
            await self._answer(send, "pass" if self.started else "fail", {})
        elif path == "/health/ready":
            if not self.started or self.draining:
                await self._answer(send, "fail", {"output": "draining" if self.draining else "starting"})
                return
            results = await self.own()
            worst = _worst(result.status for checks in results.values() for result in checks.values())
            details = await self.shown(scope)
            await self._answer(send, worst, {"checks": _checks(results, details)})
        elif await self.shown(scope):
            # Peers decide for themselves whether the same person may see theirs.
            token = header(scope, b"authorization")
            services, checks = await self._fresh("details", lambda: self._aggregate(token))
            await self._answer(send, self.overall(services), {"services": services, "checks": checks})
        else:
            services = await self.all()
            await self._answer(send, self.overall(services), {"services": services})

    async def _answer(self, send: Send, status: str, more: Mapping[str, Any]) -> None:
        body = json.dumps({"status": status, **more}).encode()
        headers = {"cache-control": "no-store", "vary": "authorization"}
        await answer(send, 503 if status == "fail" else 200, body, MEDIA_TYPE, headers)

    async def _fresh(self, key: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < FRESH:
            return kept[1]
        # However many ask at once, each dependency is looked at once.
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = spawn(_hold(ask), f"health {key}")
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        found = await asyncio.shield(task)
        self._kept[key] = (time.monotonic(), found)
        return found

    async def _run(self) -> Mapping[str, Mapping[str, Result]]:
        pairs = [(service, name, probe) for service, found in self.probes.items() for name, probe in found.items()]
        results = await asyncio.gather(*(_look(probe) for _, _, probe in pairs))
        report: dict[str, dict[str, Result]] = {service: {} for service in self.probes}
        for (service, name, _), result in zip(pairs, results, strict=True):
            report[service][name] = result
        return report

    async def _aggregate(self, token: str = "") -> tuple[Mapping[str, str], Mapping[str, Any]]:
        own, theirs = await asyncio.gather(
            self.own(), asyncio.gather(*(self._peer(urls, token) for urls in self.peers.values()))
        )
        services = {name: _worst(result.status for result in checks.values()) for name, checks in own.items()}
        checks = _checks(own, details=True)
        for name, (state, found) in zip(self.peers, theirs, strict=True):
            services[name] = state
            checks |= found
        # Not served is worth a warning, not a failure: the others work on without it.
        services |= dict.fromkeys(self.absent, "warn")
        return dict(sorted(services.items())), dict(sorted(checks.items()))

    async def _peer(self, urls: tuple[str, ...], token: str) -> tuple[str, Mapping[str, Any]]:
        """The best of a peer's replicas, all asked at once: one that is ready is enough."""
        found = await asyncio.gather(*(self._replica(url, token) for url in urls))
        return min(found, key=lambda each: _ORDER[each[0]], default=("warn", {}))

    async def _replica(self, url: str, token: str) -> tuple[str, Mapping[str, Any]]:
        if self.client is None:
            return "warn", {}
        try:
            async with asyncio.timeout(AGGREGATE_LIMIT):
                headers = {"authorization": token} if token else {}
                document = (await self.client.get(f"{url}/health/ready", headers=headers)).json()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            log.debug("the health of %s is unknown: %s", url, type(error).__name__)
            return "fail", {}
        if not isinstance(document, dict):
            return "warn", {}
        state, checks = str(document.get("status")), document.get("checks")
        return state if state in _ORDER else "warn", checks if isinstance(checks, dict) else {}


def _checks(results: Mapping[str, Mapping[str, Result]], details: bool) -> dict[str, Any]:
    """Checks as the draft has them: by ``<service>:<what>``, a list of one each."""
    return {
        f"{service}:{name}": [result.shown(details)]
        for service, found in results.items()
        for name, result in found.items()
    }


async def _hold(ask: Callable[[], Awaitable[Any]]) -> Any:
    return await ask()


async def _look(probe: Probe) -> Result:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(LIMIT):
            check = await probe()
    except TimeoutError:
        check = Check("fail", "no answer in time")
    except Exception as error:
        check = Check("fail", f"{type(error).__name__}: {error}")
    status = "warn" if isinstance(probe, Supporting) and check.status == "fail" else check.status
    return Result(status, check.detail, round((time.perf_counter() - began) * 1000, 2))


def _worst(statuses: Any) -> str:
    return max(statuses, key=lambda status: _ORDER.get(status, 2), default="pass")
