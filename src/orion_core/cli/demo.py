"""``orion demo``: people and events to look at."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import attrs
import typer

from orion_core.cli.console import fail, progress, put, say, table

if TYPE_CHECKING:
    import httpx

    from orion_core.platform import Platform

NAMES = ("Ada", "Grace", "Barbara", "Katherine", "Radia")
METRICS = ("user.registered", "auth.session_started")
LIMIT = 30.0
"""Seconds that everything has to arrive in."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        epilog="Examples:\n\norion demo  on this data folder, whether or not a host runs\n\n"
        "orion demo --url http://127.0.0.1:3000  on any host, by HTTP alone"
    )(demo)


def demo(
    url: Annotated[str, typer.Option(help="Talk to the host at this URL and to nothing else.")] = "",
    people: Annotated[int, typer.Option(min=1, max=20, help="How many people to register.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Register a few people, change a profile, and show what followed: profiles, notices, mails, events and counts.

    May be repeated: the people of each run are new ones at example.org.
    """
    report = asyncio.run(_demo(url, people))
    if as_json:
        put(attrs.asdict(report))
    else:
        _print(report)
    if report.missing:
        fail(
            [
                f"{what} did not arrive within {LIMIT:g} s: is a host running and healthy? see: orion doctor"
                for what in report.missing
            ]
        )
        raise typer.Exit(1)


@attrs.define
class Person:
    """One registered person and what has arrived for them."""

    id: str
    email: str
    headers: dict[str, str] = attrs.field(repr=False)
    name: str = ""
    bio: str = ""
    notices: list[str] = attrs.field(factory=list)
    mails: int | None = None


@attrs.define
class Report:
    """What there is to look at. What cannot be seen from here is None."""

    people: list[dict[str, Any]] = attrs.field(factory=list)
    events: dict[str, int] | None = None
    counts: list[dict[str, Any]] | None = None
    missing: list[str] = attrs.field(factory=list)


async def _demo(url: str, people: int) -> Report:
    run = secrets.token_hex(3)
    async with _reached(url) as (client, platform):
        counting = platform is not None and "analytics" in platform.plugins
        before = await _totals(platform) if platform is not None and counting else ()
        persons = [await _register(client, f"{NAMES[at % len(NAMES)]}", at, run) for at in range(people)]
        first = persons[0]
        progress(f"{len(persons)} people registered; signing in as {first.email}")
        answer = await _ask(client.post, "/api/v1/auth/login", run, json={"email": first.email, "password": _PASSWORD})
        first.headers = {"authorization": f"Bearer {answer['access_token']}"}
        report = Report()
        until = time.monotonic() + LIMIT
        served = set(platform.plugins) if platform is not None else {"users", "notifications"}
        if "users" in served:
            arrived = await _until(until, lambda: _all(_profile(client, person) for person in persons))
            if arrived:
                bio = "Wrote the first program, and this one changed her profile."
                answer = await _ask(client.patch, "/api/v1/users/me", run, headers=first.headers, json={"bio": bio})
                first.bio = answer["bio"]
            else:
                report.missing.append("profiles")
        if "notifications" in served:
            if not await _until(until, lambda: _all(_notices(client, person) for person in persons)):
                report.missing.append("notices")
            folder = _mail_folder(platform)
            if folder is not None and not await _until(until, lambda: _mails(folder, persons)):
                report.missing.append("mails")
        if platform is not None:
            if counting and not await _until(until, lambda: _counted(platform, before, len(persons))):
                report.missing.append("counts")
            report.events = await _events(platform, run)
            report.counts = await _counts(platform) if counting else None
        report.people = [attrs.asdict(person, filter=lambda field, _: field.name != "headers") for person in persons]
        return report


@asynccontextmanager
async def _reached(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, Platform | None]]:
    """A client for the host at `url`; without one for the configured platform, which is opened here."""
    import httpx

    from orion_core.cli.configured import configured
    from orion_core.errors import StartRefused
    from orion_core.observability import logging
    from orion_core.platform import Platform

    if url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
            yield client, None
        return
    found = configured()
    logging.setup("warning", found.settings.log_format)
    gateway = found.url(
        found.split.ports["gateway"] if found.split and "gateway" in found.split.ports else found.port()
    )
    running = await _lives(gateway)
    if not running and found.split is not None:
        raise StartRefused([f"no host answers at {gateway}: name one with --url"])
    progress(f"a host runs at {gateway}" if running else "no host is running: opening the platform here")
    async with Platform(found.discovery, (), found.settings, work=not running) as platform:
        if running:
            client = httpx.AsyncClient(base_url=gateway, trust_env=False, timeout=10)
        else:
            client = httpx.AsyncClient(
                base_url="http://orion",
                transport=httpx.ASGITransport(app=cast("Any", platform.asgi())),
                timeout=10,
            )
        async with client:
            yield client, platform


async def _lives(url: str) -> bool:
    import httpx

    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            answer = await client.get(f"{url}/health/live")
            return bool(answer.json().get("status") == "pass")
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


_PASSWORD = secrets.token_urlsafe(12)


async def _register(client: httpx.AsyncClient, name: str, at: int, run: str) -> Person:
    email = f"{name.lower()}.{run}{at}@example.org"
    body = {"email": email, "password": _PASSWORD, "name": name}
    answer = await _ask(client.post, "/api/v1/auth/register", run, json=body)
    return Person(answer["user"]["id"], email, {"authorization": f"Bearer {answer['access_token']}"}, name)


async def _ask(send: Callable[..., Awaitable[httpx.Response]], path: str, run: str, **more: Any) -> Any:
    import httpx

    from orion_core.errors import Unavailable, revive

    # The request id becomes the correlation id of all that follows, by which the events of this run are found.
    headers = {"x-request-id": f"demo-{run}", **more.pop("headers", {})}
    try:
        answer = await send(path, headers=headers, **more)
    except httpx.HTTPError as error:
        raise Unavailable(f"no answer to {path}: {error or type(error).__name__}") from error
    if answer.is_success:
        return answer.json()
    try:
        document = answer.json()
    except ValueError:
        document = {"status": answer.status_code, "detail": f"{path} answered {answer.status_code}"}
    raise revive(document, {})


async def _until(until: float, look: Callable[[], Awaitable[bool]]) -> bool:
    while not await look():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.1)
    return True


async def _all(looks: Any) -> bool:
    return all(await asyncio.gather(*looks))


async def _profile(client: httpx.AsyncClient, person: Person) -> bool:
    answer = await client.get("/api/v1/users/me", headers=person.headers)
    if answer.status_code != 200:
        return False
    person.name = answer.json()["name"]
    return True


async def _notices(client: httpx.AsyncClient, person: Person) -> bool:
    answer = await client.get("/api/v1/notifications", headers=person.headers)
    if answer.status_code != 200:
        return False
    person.notices = [notice["title"] for notice in answer.json()["items"]]
    return bool(person.notices)


def _mail_folder(platform: Platform | None) -> Path | None:
    from orion_core.adapters.choose import file_path

    url = "" if platform is None else platform.settings.mail()
    return file_path(url) if url.startswith("file:") else None


async def _mails(folder: Path, persons: Sequence[Person]) -> bool:
    names = await asyncio.to_thread(lambda: [path.name for path in folder.glob("*.eml")])
    for person in persons:
        part = f"-{person.email.replace('@', '-')}-"
        person.mails = sum(part in name for name in names)
    return all(person.mails for person in persons)


async def _events(platform: Platform, run: str) -> dict[str, int]:
    told: dict[str, int] = {}
    statement = "SELECT name, count(*) AS times FROM orion_outbox WHERE correlation_id = $1 GROUP BY name ORDER BY name"
    for db in platform.databases.values():
        for row in await db.fetch(statement, f"demo-{run}"):
            told[row["name"]] = told.get(row["name"], 0) + row["times"]
    return told


async def _totals(platform: Platform) -> tuple[int, ...]:
    from orion_core.contracts.analytics import Analytics

    return tuple([(await platform.service(Analytics).metric(metric)).total for metric in METRICS])


async def _counted(platform: Platform, before: Sequence[int], people: int) -> bool:
    # Everybody registered, which signs in, and one person signed in once more. Others may be busy at the same time.
    registered, signed_in = await _totals(platform)
    return registered >= before[0] + people and signed_in >= before[1] + people + 1


async def _counts(platform: Platform) -> list[dict[str, Any]]:
    from orion_core.contracts.analytics import Analytics

    found = []
    for metric in METRICS:
        report = await platform.service(Analytics).metric(metric)
        found += [{"metric": metric, "day": each.day.isoformat(), "count": each.count} for each in report.days[-7:]]
    return found


def _print(report: Report) -> None:
    rows = [
        (each["name"], each["email"], ", ".join(each["notices"]) or "-", _or_dash(each["mails"]), each["bio"] or "-")
        for each in report.people
    ]
    table("People", ("name", "email", "notices", "mails", "bio"), rows)
    if report.events is not None:
        say()
        table("Events told", ("event", "times"), [(name, str(times)) for name, times in report.events.items()])
    if report.counts is not None:
        say()
        counts = [(each["metric"], each["day"], str(each["count"])) for each in report.counts]
        table("Counts", ("metric", "day", "count"), counts)


def _or_dash(found: int | None) -> str:
    return "-" if found is None else str(found)
