"""The gateway before services in processes of their own, over raw sockets: nothing doubtful reaches a peer."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from framings import REFUSED, SPELLINGS
from raw_http import exchange, line, parse

from orion_core.testing.processes import Processes

pytestmark = pytest.mark.processes


@pytest.fixture
def port(orion_processes: Processes) -> int:
    found = urlsplit(orion_processes.url("gateway")).port
    assert found is not None
    return found


async def test_a_request_in_doubtful_form_is_refused_by_the_gateway_and_by_each_peer(
    port: int, orion_processes: Processes
) -> None:
    """G3 and G1: a peer that is reached without the gateway is no softer."""
    for each in (port, urlsplit(orion_processes.url("auth")).port):
        assert each is not None
        for name, (status, request) in REFUSED.items():
            answer = parse(await exchange(each, request))
            assert (name, answer.status, answer.rest) == (name, status, b"")
            assert answer.problem["detail"]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_second_spelling_of_a_path_reaches_no_peer(port: int, spelling: bytes) -> None:
    """G4 and G71."""
    async with line(port) as client:
        await client.send(b"GET " + spelling + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.answer()

    assert answer.status in (400, 404), answer
    assert answer.problem["code"] in ("malformed", "not_found")


@pytest.mark.parametrize("forged", [b"X-User-Id", b"X_User_Id", b"X-Orion-User", b"Orion-Context", b"X-Forwarded-User"])
async def test_nobody_is_signed_in_by_a_header_of_their_own(port: int, forged: bytes) -> None:
    """G11 and G12."""
    who = b": 01a20342-f02a-7b8b-ad9c-38f0351d0b4d\r\n"
    async with line(port) as client:
        await client.send(b"GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\n" + forged + who + b"\r\n")
        answer = await client.answer()

    assert (answer.status, answer.problem["code"]) == (401, "unauthenticated")
    assert answer["www-authenticate"].startswith("Bearer")


async def test_a_peer_that_is_asked_for_head_answers_without_a_body(port: int) -> None:
    head, get = b"HEAD /.well-known/jwks.json", b"GET /.well-known/jwks.json"
    rest = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    asked, got = parse(await exchange(port, head + rest), bodyless=True), parse(await exchange(port, get + rest))

    assert (asked.status, asked.rest) == (got.status, b"") == (200, b"")
    assert asked["content-length"] == str(len(got.body))
    assert asked["etag"] == got["etag"]


@pytest.mark.parametrize("framing", [b"Content-Length: 3000000", b"Transfer-Encoding: chunked"])
async def test_a_body_beyond_the_limit_is_413_and_the_client_reads_it(port: int, framing: bytes) -> None:
    """G40."""
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + framing + b"\r\n\r\n"
    part = b"x" * 3_000_000 if framing.startswith(b"Content") else b"2dc6c0\r\n" + b"x" * 3_000_000 + b"\r\n0\r\n\r\n"
    answer = parse(await exchange(port, head + part))

    assert answer.status == 413
    assert answer.problem["code"] == "too_large"
    assert answer["connection"] == "close"
