"""What ``orion doctor`` looks at: everything that a host needs, one finding each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import attrs

from orion_core import composition
from orion_core.adapters import choose
from orion_core.adapters.system_clock import SystemClock
from orion_core.cli.configured import Configured
from orion_core.cli.console import without_password
from orion_core.cli.migrate import opened
from orion_core.errors import Error, StartRefused
from orion_core.migrate import pending
from orion_core.outside import Outside
from orion_core.platform import Platform
from orion_core.ports.check import Check
from orion_core.serve import bind
from orion_core.topology import outside

_PATIENCE = 3.0
_LOOKS = 60
State = Literal["ok", "warn", "wrong"]


@attrs.frozen
class Finding:
    """One thing that was looked at: ``ok``, ``warn`` (works, with less) or ``wrong``, and how to mend it."""

    name: str
    state: State
    detail: str = ""
    fix: str = ""


async def examine(found: Configured) -> list[Finding]:
    """Look at the plugins, the composition, every server and the port. Writes nothing but empty SQLite files."""
    findings = [
        Finding(f"plugin {each.name}", "wrong", each.reason, "mend or uninstall it") for each in found.discovery.broken
    ]
    platform: Platform | None = None
    try:
        platform = Platform(found.discovery, (), found.settings)
        platform.asgi()  # routes and the gateway are put together here, and may refuse
    except StartRefused as refused:
        findings += [Finding("start", "wrong", problem) for problem in refused.problems]
    else:
        findings.append(Finding("plugins", "ok", ", ".join(platform.plugins) or "none"))
        findings += [
            Finding(f"contract {name}", "warn", why, "install it, serve it, or name its host in ORION_PEERS")
            for name, why in platform.absent.items()
        ]
    settings = found.settings
    wrong = {problem.partition(":")[0] for problem in choose.problems(settings, ())}
    services = [name for name, plugin in found.discovery.plugins.items() if composition.has_database(plugin)]
    looks: list[Awaitable[Finding]] = [_database(found, name) for name in services]
    if "ORION_BUS_URL" not in wrong:
        looks.append(_bus(found))
    if "ORION_CACHE_URL" not in wrong:
        looks.append(_look("cache", settings.cache_url, "ORION_CACHE_URL", lambda: _cache(found)))
    if "ORION_LIMITS_URL" not in wrong:
        looks.append(_look("limits", settings.limits_url, "ORION_LIMITS_URL", lambda: _limits(found)))
    if "ORION_MAIL_URL" not in wrong:
        looks.append(_look("mail", settings.mail(), "ORION_MAIL_URL", lambda: _mail(found)))
    looks += [_outside(each) for leads in outside(found.discovery.plugins, settings).values() for each in leads]
    findings += await asyncio.gather(*looks)
    if found.split is None:
        findings.append(await asyncio.to_thread(_port, found))
    else:
        served = ", ".join(f"{name} on {port}" for name, port in found.split.ports.items())
        findings.append(Finding("split", "ok", f"supervised by process {found.split.pid}: {served}"))
    return findings


async def _outside(each: Outside) -> Finding:
    """Whether every URL of an upstream answers: its health path if it has one, else whatever is at its root."""
    import httpx

    label = f"upstream {each.name}"
    wrong = []
    async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE) as client:
        for url in each.urls:
            try:
                status = (await client.get(url.rstrip("/") + (each.health or "/"))).status_code
            except httpx.HTTPError as error:
                wrong.append(f"{url} cannot be reached ({type(error).__name__})")
            else:
                if status >= 500 or (each.health and status >= 400):
                    wrong.append(f"{url} answers {status}")
    if wrong:
        return Finding(label, "warn", ", ".join(wrong), f"start it, or mend [gateway.upstreams.{each.name}]")
    return Finding(label, "ok", f"{each.prefix} at {' '.join(each.urls)}")


async def _database(found: Configured, name: str) -> Finding:
    label, url = f"database of {name}", without_password(found.settings.database(name))
    if choose.problems(found.settings, [name]) and not url.startswith(("sqlite:", "postgresql:")):
        return Finding(label, "wrong", url, "use sqlite:///… or postgresql://…")
    try:
        async with opened(found, name) as (db, apps):
            waiting = await pending(db, apps)
    except (Error, OSError) as error:
        return Finding(label, "wrong", f"{url}: {error}", "start the server, or set ORION_DATABASE_URL")
    if not waiting:
        return Finding(label, "ok", url)
    if db.dialect.name == "sqlite":
        return Finding(label, "ok", f"{url}, {len(waiting)} migrations are applied at the next start")
    return Finding(label, "wrong", f"{url}, {len(waiting)} migrations pending", f"orion migrate up {name}")


async def _bus(found: Configured) -> Finding:
    url = found.settings.bus_url
    if url.startswith("embedded:"):
        return Finding("bus", "ok", "embedded, in the services' databases")

    async def ask() -> Check:
        bus = await choose.open_bus(found.settings, {})
        try:
            # A broker may need a moment to take the connection; opening does not wait for it.
            for _ in range(_LOOKS):
                if (check := await bus.check()).status == "pass":
                    break
                await asyncio.sleep(_PATIENCE / _LOOKS)
            return check
        finally:
            await bus.aclose()

    return await _look("bus", url, "ORION_BUS_URL", ask)


async def _cache(found: Configured) -> Check:
    cache = await choose.open_cache(found.settings, SystemClock())
    try:
        return await cache.check()
    finally:
        await cache.aclose()


async def _limits(found: Configured) -> Check:
    limits = choose.open_limits(found.settings, SystemClock())
    try:
        return await limits.check()
    finally:
        await limits.aclose()


async def _mail(found: Configured) -> Check:
    mail = await choose.open_mail(found.settings)
    try:
        return await mail.check()
    finally:
        await mail.aclose()


async def _look(label: str, url: str, variable: str, ask: Callable[[], Awaitable[Check]]) -> Finding:
    shown = without_password(url)
    try:
        async with asyncio.timeout(2 * _PATIENCE):
            check = await ask()
    except TimeoutError:
        return Finding(label, "wrong", f"{shown}: no answer in time", f"start the server, or set {variable}")
    except Exception as error:
        return Finding(label, "wrong", f"{shown}: {error}", f"set {variable}")
    if check.status == "pass":
        return Finding(label, "ok", shown)
    return Finding(label, "wrong", f"{shown}: {check.detail}", f"start the server, or set {variable}")


def _port(found: Configured) -> Finding:
    import httpx

    port = found.port()
    url = found.url(port)
    try:
        bind(found.settings.host, port).close()
    except StartRefused as refused:
        problem = refused.problems[0]
    else:
        return Finding("port", "ok", f"{port} is free")
    try:
        answer = httpx.get(f"{url}/health/live", timeout=2, trust_env=False)
        if answer.json().get("status") == "pass":
            return Finding("port", "ok", f"a host answers at {url}")
    except (httpx.HTTPError, ValueError):
        pass
    return Finding("port", "wrong", problem)
