"""How fast is the front door beside its peers?

Starts ORION and the peers of benchmarks/peers/ on loopback, lets them take turns under 32 connections, one worker each,
and reports the median ratio of the rounds with its spread. What is measured stays on one core, the load and the origins
on another. Logins and bcrypt have all cores.

    python benchmarks/front_door.py                          # all rows, 3 rounds of 3 s for each side
    python benchmarks/front_door.py --rows 1,2,3 --rounds 5
    python benchmarks/front_door.py --write                  # also writes docs/explanation/performance.md

Needs wrk; node and npm from version 20 for rows 1, 2, 6 and 7; PostgreSQL, Redis and RabbitMQ where a test would find
them for rows 3, 6, 7 and 9; what benchmarks/peers/fastapi_users/requirements.txt names for row 5.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import platform
import secrets
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import front_door_servers as servers
import httpx
import pytest
from front_door_load import CONNECTIONS, CORES, SERVERS, Compared, Side, in_turns, pin, require_wrk
from front_door_people import PASSWORD, answered, sign_up

from orion_core.testing.services import redis_url

Skipped: Final = pytest.skip.Exception
"""How the test kit says that a server is missing."""
PAGE: Final = Path(__file__).parents[1] / "docs/explanation/performance.md"
BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"
SELECT: Final = (
    "SELECT user_id, email, name, first_name, last_name, bio, picture_id, locale, time_zone, version, created_at, "
    "updated_at FROM users.user_profiles WHERE user_id = $1 AND state = 'active'"
)


def proxied(folder: Path, rounds: int, seconds: float) -> list[Compared]:
    """Rows 1 to 3: a GET through the whole pipeline to an origin, and through proxies without one."""
    redis = f"{redis_url()}?prefix=bench-{secrets.token_hex(4)}:"
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(servers.origin(folder))
        bare = stack.enter_context(servers.bare_proxy(folder, target))
        express = stack.enter_context(servers.node(folder, "nestjs_express", "proxy", TARGET=target))
        fastify = stack.enter_context(servers.node(folder, "nestjs_fastify", "proxy", TARGET=target))
        sides = [
            Side("bare", f"{bare}/bench"),
            Side("express", f"{express}/bench"),
            Side("fastify", f"{fastify}/bench"),
        ]
        for name, limits in (("ours", "memory:"), ("ours-redis", redis)):
            url = stack.enter_context(servers.orion(folder, name, ("auth", "gateway"), upstream=target, limits=limits))
            headers = sign_up(url)[1]
            sides.append(Side(name, f"{url}/bench", headers))
            # All get the same request, whether or not they look at the token.
            sides[:3] = [Side(side.name, side.url, headers) for side in sides[:3]]
        found = in_turns(sides, rounds, seconds)
    what = "proxied GET, whole pipeline"
    ours, bare_rates = found["ours"], found["bare"]
    return [
        Compared("1", what, "NestJS (express), bare http-proxy-middleware", 3.0, ours, found["express"]),
        Compared("2", what, "NestJS (fastify), bare @fastify/http-proxy", 1.0, ours, found["fastify"]),
        Compared("3", what, "our own proxy without any pipeline", 0.6, ours, bare_rates),
        Compared("3r", f"{what}, limits in Redis", "the same", 0.35, found["ours-redis"], bare_rates),
    ]


def in_process(folder: Path, rounds: int, seconds: float) -> list[Compared]:
    """Row 4: an authenticated GET that needs no database."""
    with servers.litestar(folder) as bare, servers.orion_without_database(folder) as url:
        headers = sign_up(url)[1]
        sides = [Side(name, f"{at}/api/v1/echo/me", headers) for name, at in (("ours", url), ("bare", bare))]
        found = in_turns(sides, rounds, seconds)
    what = "GET in process, signed in, whole pipeline, no database"
    return [Compared("4", what, "bare handler of Litestar", 0.6, found["ours"], found["bare"])]


def embedded(folder: Path, rounds: int, seconds: float) -> list[Compared]:
    """Row 5: one's own profile, on SQLite in the same process."""
    if importlib.util.find_spec("fastapi_users") is None or importlib.util.find_spec("aiosqlite") is None:
        raise SystemExit("row 5 needs: pip install -r benchmarks/peers/fastapi_users/requirements.txt")
    with (
        servers.fastapi_users(folder) as other,
        servers.orion(folder, "embedded", ("auth", "users", "gateway")) as url,
    ):
        headers = sign_up(url)[1]
        answered(f"{url}/api/v1/users/me", headers)
        person = {"email": "ada@example.org", "password": PASSWORD}
        client = httpx.Client(base_url=other, trust_env=False, timeout=30)
        client.post("/auth/register", json=person).raise_for_status()
        form = {"username": person["email"], "password": PASSWORD}
        token = client.post("/auth/jwt/login", data=form).raise_for_status().json()["access_token"]
        sides = [
            Side("ours", f"{url}/api/v1/users/me", headers),
            Side("other", f"{other}/users/me", {"Authorization": f"Bearer {token}"}),
        ]
        found = in_turns(sides, rounds, seconds)
    what = "`GET /api/v1/users/me`, embedded, whole pipeline"
    return [Compared("5", what, "fastapi-users on SQLite", 5.0, found["ours"], found["other"])]


def processes(folder: Path, rounds: int, seconds: float) -> list[Compared]:
    """Rows 6 and 7: one's own profile, through a gateway process and a service process on PostgreSQL."""
    from orion_core.testing.processes import Processes

    with contextlib.ExitStack() as stack:
        env = {**servers.PLENTY, "ORION_LIMITS_URL": "memory:"}
        orion = stack.enter_context(Processes(folder / "processes", ["gateway", "auth", "users"], env=env))
        person, headers = sign_up(orion.url("gateway"))
        me = "/api/v1/users/me"
        answered(orion.url("gateway") + me, headers)
        for running in orion.running.values():
            pin(running.pid, SERVERS)
        public, token = _signed(person)
        sides = [Side("ours", orion.url("gateway") + me, headers)]
        for peer in ("nestjs_express", "nestjs_fastify"):
            service = stack.enter_context(
                servers.node(folder, peer, "service", PUBLIC_KEY=public, DATABASE=orion.database_url, SELECT=SELECT)
            )
            gateway = stack.enter_context(servers.node(folder, peer, "gateway", PUBLIC_KEY=public, TARGET=service))
            sides.append(Side(peer, gateway + me, {"Authorization": f"Bearer {token}"}))
        found = in_turns(sides, rounds, seconds)
    what = "`GET /api/v1/users/me`, gateway and users on PostgreSQL"
    return [
        Compared("6", what, "the same on NestJS (express)", 3.0, found["ours"], found["nestjs_express"]),
        Compared("7", what, "the same on NestJS (fastify), keys kept", 1.0, found["ours"], found["nestjs_fastify"]),
    ]


def _signed(person: str) -> tuple[str, str]:
    """A public key as PEM, and a token of `person` that it confirms."""
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    until = datetime.now(UTC).timestamp() + 3600
    return public.decode(), jwt.encode({"sub": person, "exp": int(until)}, key, "RS256")


def logins(folder: Path, rounds: int, seconds: float) -> list[Compared]:
    """Row 8: logins beside bcrypt alone, and what they do to other routes."""
    from front_door_logins import measure

    return measure(folder, rounds, seconds)


def refreshes(folder: Path, rounds: int, seconds: float) -> list[Compared]:
    """Row 9: see refresh.py."""
    import asyncio

    from refresh import measure

    ours, sql = asyncio.run(measure(rounds))
    return [Compared("9", "refresh on PostgreSQL", "the same statements alone", 0.5, tuple(ours), tuple(sql))]


Group = Callable[[Path, int, float], list[Compared]]
GROUPS: Final[tuple[tuple[Group, frozenset[str]], ...]] = (
    (proxied, frozenset({"1", "2", "3", "3r"})),
    (in_process, frozenset({"4"})),
    (embedded, frozenset({"5"})),
    (processes, frozenset({"6", "7"})),
    (logins, frozenset({"8", "8p"})),
    (refreshes, frozenset({"9"})),
)


def table(found: list[Compared], rounds: int, seconds: float) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| row | what | beside | ours | peer | ratio (lowest to highest) | wanted |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for each in found:
        middle = [sorted(rates)[len(rates) // 2] for rates in (each.ours, each.theirs)]
        ours, theirs = (f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" for rate in middle)
        spread = f"**{each.ratio:.2f}** ({min(each.ratios):.2f} to {max(each.ratios):.2f})"
        wanted = f"{each.target:g}" if each.row != "8p" else f"at most {each.target:g}"
        lines.append(f"| {each.row} | {each.what} | {each.peer} | {ours} | {theirs} | {spread} | {wanted} |")
    about = (
        f"{rounds} rounds of {seconds:g} s, {CONNECTIONS} connections, one worker, {len(CORES)} cores, Python "
        f"{platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}, load average {os.getloadavg()[1]:.1f} at the end."
    )
    return "\n".join([*lines, "", about])


def write(text: str) -> None:
    """Put `text` into the page of the docs."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def parsed() -> Any:
    """The options."""
    parser = argparse.ArgumentParser(description="The front door beside its peers.")
    parser.add_argument("--rows", default="", help="numbers of rows, by commas; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side takes its turn (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each turn takes (3)")
    parser.add_argument("--write", action="store_true", help="write the page of the docs")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parsed()
    require_wrk()
    wanted = set(filter(None, options.rows.split(",")))
    if unknown := wanted - frozenset().union(*(rows for _, rows in GROUPS)):
        raise SystemExit(f"there are no rows {', '.join(sorted(unknown))}")
    found: list[Compared] = []
    failed = False
    for group, rows in GROUPS:
        if not wanted or wanted & rows:
            with tempfile.TemporaryDirectory(prefix="orion-bench-") as folder:
                try:
                    found += group(Path(folder), options.rounds, options.seconds)
                except (Exception, SystemExit, Skipped) as error:
                    # What is missing for some rows takes nothing from the others.
                    failed = True
                    print(f"not measured: {', '.join(sorted(rows))}: {error}", file=sys.stderr, flush=True)
                    continue
            print(f"measured: {', '.join(sorted(rows))}", file=sys.stderr, flush=True)
    text = table(found, options.rounds, options.seconds)
    print(text)
    if options.write and found:
        write(text)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
