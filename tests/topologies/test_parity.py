"""One and the same request, with every service in the gateway's own process and with every service behind it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from orion_core.testing.ports import free_ports
from orion_core.testing.processes import Processes

pytestmark = pytest.mark.processes

DIFFERING = {"content-length", "date", "etag", "x-request-id"}
"""Header fields whose values follow from ids and times, so that only their presence is compared."""
PASSING = {"last-modified"}
"""Header fields that are there or not by the time of day: an object has no date within the second of its change."""
SERVER_FAULTS = {500, 502, 503, 504}
PASSWORD = "correct horse battery staple"
JSON = {"content-type": "application/json"}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
PATTERNS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "<time>"),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<jwt>"),
    (re.compile(r"(ort_|whsec_)[\w+/=-]+"), r"\1<secret>"),
    (re.compile(r'"request_id": ?"[^"]+"'), '"request_id":"<id>"'),
    (re.compile(r'"(x|kid|correlation_id|next_cursor)": ?"[^"]+"'), r'"\1":"<made>"'),
]


@attrs.frozen
class Arrangement:
    """One way of serving everything: where it answers, and what auth wrote down."""

    url: str
    admin: Mapping[str, str]

    def ask(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> httpx.Response:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as client:
            return client.request(method, path, headers=dict(headers), content=content)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        answer = self.ask("POST", path, {**JSON, **(headers or {})}, json.dumps(body).encode())
        assert answer.is_success, answer.text
        return answer.json()


class Whole:
    """`orion run`: every service in one process, on SQLite."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.folder = folder
        inherited = {key: text for key, text in os.environ.items() if not key.startswith("ORION_")}
        self.env = {**inherited, "ORION_DATA_DIR": str(folder), "ORION_PORT": str(self.port)}
        self.url = f"http://127.0.0.1:{self.port}"
        self.run("migrate", "up")
        with (folder / "log").open("wb") as log:
            command = [sys.executable, "-m", "orion_core.cli", "run"]
            self.process = subprocess.Popen(command, env=self.env, cwd=folder, stdout=log, stderr=log)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "orion_core.cli", *command],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of auth's database."""
        with sqlite3.connect(f"file:{self.folder}/auth.db?mode=ro", uri=True) as db:
            return db.execute(sql).fetchall()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def until_ready(url: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} did not get ready")


def arrangement(url: str, run: Any, email: str) -> Arrangement:
    """An arrangement with an administrator."""
    run("users", "create-admin", "--email", email, "--password", PASSWORD)
    made = Arrangement(url, {})
    token = made.post("/api/v1/auth/login", {"email": email, "password": PASSWORD})["access_token"]
    return attrs.evolve(made, admin={"authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    started = Whole(tmp_path_factory.mktemp("whole"))
    try:
        until_ready(started.url)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def both(whole: Whole, orion_processes: Processes) -> tuple[Arrangement, Arrangement]:
    """The same services in one process and as peers of the gateway."""
    gateway = orion_processes.url("gateway")
    email = f"admin-{secrets.token_hex(6)}@example.org"
    return arrangement(whole.url, whole.run, email), arrangement(gateway, orion_processes.run, email)


@attrs.frozen
class Case:
    """One request; `as_` is who asks: nobody, a person, an administrator, or somebody with a broken token."""

    method: str
    path: str
    as_: str = "person"
    body: Any = None
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path} as {self.as_}"


API = "/api/v1"
CASES = [
    *(
        Case(method, path, as_)
        for path in (
            f"{API}/auth/me",
            f"{API}/users/me",
            f"{API}/users/me/preferences",
            f"{API}/notifications",
            f"{API}/search?index=users&q=zyxwvutsrq",
            f"{API}/storage/buckets",
            f"{API}/webhooks/endpoints",
            f"{API}/analytics/metrics/never.told",
        )
        for method, as_ in (
            ("GET", "nobody"),
            ("GET", "broken"),
            ("GET", "person"),
            ("GET", "admin"),
            ("DELETE", "person"),
        )
        if (method, path) != ("DELETE", f"{API}/users/me")
        # An administrator sees the buckets of everybody, and others use one of the two deployments as well.
        and (method, path, as_) != ("GET", f"{API}/storage/buckets", "admin")
    ),
    Case("GET", "/.well-known/jwks.json", "nobody"),
    Case("GET", "/.well-known/jwks.json", "nobody", None, {"if-none-match": "*"}),
    Case("GET", f"{API}/auth/none", "nobody"),
    Case("GET", f"{API}/nowhere", "nobody"),
    Case("GET", "/", "nobody"),
    Case("GET", f"{API}/users/me/", "person"),
    Case("GET", f"{API}/users//me", "person"),
    Case("GET", f"{API}/users%2fme", "person"),
    Case("GET", f"{API}/users/../auth/me", "person"),
    Case("GET", f"{API}/users/me/x.css", "person"),
    Case("POST", f"{API}/auth/login", "nobody", {"email": "nobody@example.org", "password": "wrong password"}),
    Case("POST", f"{API}/auth/login", "nobody", {"email": 7}),
    Case("POST", f"{API}/auth/login", "nobody", b"{"),
    Case("POST", f"{API}/auth/login", "nobody", b""),
    Case("POST", f"{API}/auth/login", "nobody", b"a=b", {"content-type": "application/x-www-form-urlencoded"}),
    Case("POST", f"{API}/auth/register", "nobody", {"email": "x", "password": "short"}),
    Case("POST", f"{API}/auth/refresh", "nobody", {"refresh_token": "ort_unknown"}),
    Case("POST", f"{API}/auth/logout", "nobody"),
    Case("POST", f"{API}/auth/login", "nobody", b"{" + b" " * 1_100_000 + b"}"),
    Case("PATCH", f"{API}/users/me", "person", {"name": "Ada", "bio": "Engines"}),
    Case("PATCH", f"{API}/users/me", "person", {"unknown": 1}),
    Case("PATCH", f"{API}/users/me", "person", {"name": "Eve"}, {"if-match": '"stale"'}),
    Case("GET", f"{API}/users/me", "person", None, {"if-none-match": "*"}),
    Case("GET", f"{API}/users/{'0' * 8}-0000-7000-8000-{'0' * 12}", "admin"),
    Case("GET", f"{API}/users/not-a-uuid", "admin"),
    Case("GET", f"{API}/users?limit=0", "admin"),
    Case("GET", f"{API}/users?cursor=garbage", "admin"),
    Case("GET", f"{API}/users/me/activity", "person"),
    Case("PUT", f"{API}/users/me/preferences/none.such", "person", {"value": 1}),
    Case("PUT", f"{API}/users/me/avatar", "person", PNG, {"content-type": "image/png"}),
    Case("GET", f"{API}/search?index=none&q=a", "person"),
    Case("GET", f"{API}/search", "person"),
    Case("GET", f"{API}/search/admin/tasks", "person"),
    Case("POST", f"{API}/storage/buckets", "person", {"name": "{bucket}", "visibility": "public"}),
    Case("POST", f"{API}/storage/buckets", "person", {"name": "No!"}),
    Case("PUT", f"{API}/storage/buckets/{{bucket}}/objects/a.txt", "person", b"hello", {"content-type": "text/plain"}),
    Case("PUT", f"{API}/storage/buckets/{{bucket}}/objects/a.txt", "nobody", b"hello"),
    Case("HEAD", f"{API}/storage/buckets/{{bucket}}/objects/a.txt", "nobody"),
    Case("GET", f"{API}/storage/buckets/{{bucket}}/objects/a.txt", "nobody"),
    Case("GET", f"{API}/storage/buckets/{{bucket}}/objects/a.txt", "nobody", None, {"range": "bytes=1-2"}),
    Case("GET", f"{API}/storage/buckets/{{bucket}}/objects/a.txt", "nobody", None, {"range": "bytes=9-"}),
    Case("GET", f"{API}/storage/buckets/{{bucket}}/objects/none", "nobody"),
    Case("DELETE", f"{API}/storage/buckets/{{bucket}}/objects/a.txt", "person"),
    Case("DELETE", f"{API}/storage/buckets/{{bucket}}", "person"),
    Case("POST", f"{API}/webhooks/endpoints", "admin", {"url": "nonsense", "event_types": ["user.*"]}),
    Case("POST", f"{API}/webhooks/endpoints", "person", {"url": "https://example.org/", "event_types": ["user.*"]}),
    Case("POST", f"{API}/analytics/events", "person", {"unknown": 1}),
    Case("GET", f"{API}/analytics/trends?name=never.told&from=bad", "admin"),
    Case("POST", f"{API}/gateway/admin/cache/purge", "admin", {"tags": ["t"]}),
    Case("POST", f"{API}/gateway/admin/cache/purge", "admin", {"tags": [""]}),
    Case("OPTIONS", f"{API}/users/me", "nobody"),
    Case("POST", f"{API}/auth/logout", "person"),
    Case("GET", f"{API}/users/me", "nobody"),
]


def plain(text: str, names: Mapping[str, str]) -> str:
    """`text` without what is made anew each time."""
    for name, made in names.items():
        text = text.replace(made, f"<{name}>")
    for pattern, word in PATTERNS:
        text = pattern.sub(word, text)
    return text


@attrs.frozen
class Seen:
    """What a client sees, as far as it is to be the same."""

    status: int
    headers: list[tuple[str, str]]
    body: str


def walk(arranged: Arrangement, names: Mapping[str, str]) -> list[Seen]:
    """Ask all of `CASES` as a new person."""
    email = names["email"]
    tokens = arranged.post(f"{API}/auth/register", {"email": email, "password": PASSWORD, "name": "Person"})
    who: dict[str, Mapping[str, str]] = {
        "nobody": {},
        "broken": {"authorization": "Bearer a.b.c"},
        "person": {"authorization": f"Bearer {tokens['access_token']}"},
        "admin": arranged.admin,
    }
    end = time.monotonic() + 60
    while arranged.ask("GET", f"{API}/users/me", who["person"], b"").status_code != 200:
        assert time.monotonic() < end, "the profile did not come"
        time.sleep(0.05)
    seen = []
    for case in CASES:
        body = b"" if case.body is None else case.body
        content = body if isinstance(body, bytes) else json.dumps(body).replace("{bucket}", names["bucket"]).encode()
        headers = {
            **(JSON if case.body is not None else {}),
            **case.headers,
            **who[case.as_],
            "x-forwarded-for": "1.2.3.4",
        }
        answer = arranged.ask(case.method, case.path.replace("{bucket}", names["bucket"]), headers, content)
        listed = [
            (name, "" if name in DIFFERING else plain(text, names))
            for name, text in sorted(answer.headers.items())
            if name not in PASSING
        ]
        seen.append(Seen(answer.status_code, listed, plain(answer.text, names)))
    return seen


AUDITED = "action, outcome, reason, method, actor = 'user:' || user_id"


async def test_every_answer_and_every_audit_row_is_the_same_in_process_and_proxied(
    both: tuple[Arrangement, Arrangement], whole: Whole, orion_processes: Processes
) -> None:
    """G91: statuses, headers but for the values that follow from ids and times, bodies, and audit rows."""
    local, peers = both
    made = secrets.token_hex(8)
    names = {"email": f"person-{made}@example.org", "bucket": f"b-{made}"}
    here, there = walk(local, names), walk(peers, names)

    differing = [
        f"{case}\n  here  {one}\n  there {other}"
        for case, one, other in zip(CASES, here, there, strict=True)
        if one != other
    ]
    assert not differing, "\n".join(differing)
    assert not SERVER_FAULTS & {each.status for each in here}
    assert {200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 412, 413, 416, 422} <= {each.status for each in here}

    sql = (
        f"SELECT {AUDITED} FROM auth_audit_logs WHERE user_id = (SELECT id FROM users WHERE email = '{names['email']}')"
    )
    own = sorted(whole.rows(sql))
    await orion_processes.connect()
    try:
        theirs = [tuple(row.values()) for row in await orion_processes.rows("auth", sql)]
    finally:
        await orion_processes.disconnect()
    assert len(own) >= 2
    assert own == sorted(theirs)
