"""`orion run` over raw sockets: framing, paths and headers as an attacker would write them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import attrs
import httpx
import pytest
from framings import REFUSED, SPELLINGS, TAKEN
from raw_http import Line, exchange, line, parse
from terminal import Running, environment, running, until_ready

from orion_core.testing.ports import free_ports

pytestmark = pytest.mark.processes


@attrs.frozen
class Host:
    """A host with everything, and what it wrote."""

    port: int
    token: str
    run: Running

    def logged(self, request_id: str) -> dict[str, object]:
        """The line of one request in the access log."""
        return dict(json.loads(self.run.wait_for(f'"request_id": "{request_id}"')))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that gives slow clients less time than usual."""
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("wire")
    times = {"ORION_HEADER_TIMEOUT": "2", "ORION_BODY_TIMEOUT": "2", "ORION_LOG_FORMAT": "json"}
    with running("run", env=environment(folder, ORION_PORT=str(port), **times), folder=folder) as run:
        url = f"http://127.0.0.1:{port}"
        until_ready(url)
        body = {"email": "ada@example.org", "password": "correct horse battery", "name": "Ada"}
        answer = httpx.post(f"{url}/api/v1/auth/register", json=body, trust_env=False, timeout=30)
        yield Host(port, answer.json()["access_token"], run)


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_in_doubtful_form_is_refused(host: Host, name: str) -> None:
    """G3 and G1."""
    status, request = REFUSED[name]
    answer = parse(await exchange(host.port, request))

    assert answer.status == status, answer
    assert answer.problem["detail"]
    assert answer.rest == b""


@pytest.mark.parametrize("name", TAKEN)
async def test_a_request_at_the_border_is_taken(host: Host, name: str) -> None:
    """G3."""
    async with line(host.port) as client:
        await client.send(TAKEN[name])
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_second_spelling_of_a_path_reaches_nothing(host: Host, spelling: bytes) -> None:
    """G4, and G71: nothing of a person is answered under a name that a cache would keep, signed in or not."""
    for token in (b"", b"Authorization: Bearer " + host.token.encode() + b"\r\n"):
        answer = await ask(host, b"GET " + spelling + b" HTTP/1.1\r\nHost: x\r\n" + token + b"\r\n")
        assert answer[0] in (400, 404), answer
        assert answer[1]["code"] in ("malformed", "not_found")


async def test_the_plain_spelling_is_answered_and_needs_a_token(host: Host) -> None:
    """G4: also with letters escaped that need it not, which is the same path (RFC 3986, 6.2.2.2)."""
    for path in (b"/api/v1/auth/me", b"/api/v1/auth/%6de"):
        start = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n"
        assert (await ask(host, start + b"\r\n"))[0] == 401
        signed = start + b"Authorization: Bearer " + host.token.encode() + b"\r\n\r\n"
        status, document = await ask(host, signed)
        assert (status, document["email"]) == (200, "ada@example.org")


@pytest.mark.parametrize(
    "forged",
    [
        b"X-User-Id: 01a20342-f02a-7b8b-ad9c-38f0351d0b4d",
        b"X_User_Id: 01a20342-f02a-7b8b-ad9c-38f0351d0b4d",
        b"X-Orion-User: admin",
        b"Orion-Context: e30.e30.e30",
        b"X-Forwarded-User: admin",
        b"X-Original-URL: /api/v1/auth/.well-known",
    ],
)
async def test_nobody_is_signed_in_by_a_header_of_their_own(host: Host, forged: bytes) -> None:
    """G11 and G12."""
    status, document = await ask(host, b"GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\n" + forged + b"\r\n\r\n")

    assert (status, document["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    "forged", [b"X-Forwarded-For: 198.51.100.7", b"Forwarded: for=198.51.100.7", b"X-Real-IP: 198.51.100.7"]
)
async def test_the_address_in_the_log_is_that_of_the_connection(host: Host, forged: bytes) -> None:
    """G10: no proxy is trusted unless it is named."""
    request_id = f"address-{forged[:3].decode().lower()}{len(forged)}"
    head = b"GET /api/v1/auth/me?key=hunter2 HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + request_id.encode() + b"\r\n"
    await ask(host, head + forged + b"\r\n\r\n")

    assert host.logged(request_id)["client_ip"] == "127.0.0.1"


async def test_the_access_log_has_one_line_of_json_per_request_and_no_secret(host: Host) -> None:
    """G61: whatever a client writes, it cannot break the line or send colours to a terminal."""
    head = b"GET /api/v1/auth/me?token=hunter2 HTTP/1.1\r\nHost: x\r\nX-Request-Id: log-1\r\nUser-Agent: a\x80b\r\n"
    await ask(host, head + b"Authorization: Bearer " + host.token.encode() + b"\r\nCookie: s=hunter2\r\n\r\n")
    written = host.logged("log-1")

    assert {"ts", "request_id", "trace_id", "method", "route", "status", "bytes", "duration_ms", "upstream"} < set(
        written
    )
    assert {"upstream_ms", "cache", "retries", "breaker", "user_id", "client_ip"} < set(written)
    assert (written["method"], written["route"], written["status"]) == ("GET", "/api/v1/auth/me", 200)
    assert written["bytes"]
    assert written["user_id"]
    # Nothing of what the client kept secret, in any line of the host.
    everything = "\n".join([*host.run.out, *host.run.err])
    assert "hunter2" not in everything
    assert host.token not in everything
    assert "\x1b" not in everything


async def test_a_document_that_is_not_there_is_a_problem_and_not_a_page_of_the_framework(host: Host) -> None:
    """G5."""
    status, document = await ask(host, b"GET /schema/unknown HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (status, document["code"]) == (404, "not_found")


async def test_a_body_beyond_the_limit_is_413_and_the_client_reads_it(host: Host) -> None:
    """G40: the client goes on sending and finds the answer all the same."""
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for framing in (b"Content-Length: 3000000", b"Transfer-Encoding: chunked"):
        async with line(host.port) as client:
            await client.send(head + framing + b"\r\n\r\n")
            await pour(client, 1500, b"%b" if framing.startswith(b"Content") else b"7d0\r\n%b\r\n")
            answer = parse(await client.rest())
        assert answer.status == 413
        assert answer.problem["code"] == "too_large"
        assert answer["connection"] == "close"


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: ",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ],
)
async def test_a_request_that_is_never_finished_is_408(host: Host, beginning: bytes) -> None:
    """G41."""
    answer = parse(await exchange(host.port, beginning))

    assert answer.status == 408
    assert answer.problem["code"] == "request_timeout"


async def test_a_repeated_member_and_a_deep_body_are_400(host: Host) -> None:
    """G5 and G40."""
    for body in (
        b'{"email": "a@b.org", "email": "c@d.org", "password": "x"}',
        b'{"email":' + b"[" * 65 + b"]" * 65 + b"}",
    ):
        head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        status, document = await ask(host, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (status, document["code"]) == (400, "malformed")


async def ask(host: Host, request: bytes) -> tuple[int, dict[str, object]]:
    """Status and document of one answer."""
    async with line(host.port) as client:
        await client.send(request)
        answer = await client.answer()
    assert "server" not in dict(answer.headers)
    return answer.status, json.loads(answer.body)


async def pour(client: Line, parts: int, form: bytes) -> None:
    """Send `parts` of 2,000 bytes each; the server may close meanwhile."""
    try:
        for _ in range(parts):
            await client.send(form % (b"x" * 2000))
    except ConnectionError:
        pass
