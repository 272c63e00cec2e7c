"""What Litestar does by itself and ORION does not: each row of the list has its test (G5)."""

from __future__ import annotations

import pytest
from raw_http import exchange, parse, serving
from small_app import MAX_BODY, browser, shop

SHOP = "/api/v1/shop"


@pytest.mark.parametrize("path", [f"{SHOP}/whoami/", f"{SHOP}/whoami%2F", f"{SHOP}/whoami%2f", "/schema/", f"{SHOP}/"])
async def test_a_slash_at_the_end_makes_another_path_g5(path: str) -> None:
    """Row 1; the path guard of the gateway refuses what is left of second spellings."""
    async with browser(shop()) as client:
        answer = await client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_member_given_twice_is_400_g5() -> None:
    """Row 2; the whole of it stands in test_json_bodies.py."""
    async with browser(shop()) as client:
        answer = await client.post(f"{SHOP}/orders", content=b'{"email": "ada@example.org", "email": 5, "lines": []}')

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "duplicate")


async def test_the_frameworks_own_cors_and_rate_limits_are_not_in_use_g5() -> None:
    """Rows 3 and 4: those of the gateway are, and two of a kind would contradict each other."""
    async with browser(shop()) as client:
        answer = await client.get(f"{SHOP}/whoami", headers={"origin": "https://evil.example"})

    assert not [name for name in answer.headers if name.startswith(("access-control-", "ratelimit", "x-ratelimit"))]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{SHOP}/orders", 400),
        ("GET", "/nowhere", 404),
        ("PUT", f"{SHOP}/whoami", 405),
        ("GET", "/schema/x", 404),
    ],
)
async def test_errors_are_problem_documents_with_title_and_detail_in_their_places_g5(
    method: str, path: str, status: int
) -> None:
    """Row 5; the API pages included."""
    async with browser(shop()) as client:
        answer = await client.request(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["request_id"]) == (status, answer.headers["x-request-id"])
    assert document["title"] in ("Malformed input", "Not found", "Method not allowed")
    assert document["detail"] not in ("", document["title"])


@pytest.mark.parametrize("path", [f"{SHOP}/whoami", "/nowhere", f"{SHOP}/broken"])
async def test_no_header_tells_what_software_answers_g5(path: str) -> None:
    """Row 6."""
    async with serving(shop()) as port:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        answer = parse(await exchange(port, request))

    assert not {"server", "x-powered-by", "via"} & set(dict(answer.headers))
    assert b"litestar" not in answer.body.lower()
    assert b"uvicorn" not in answer.body.lower()


async def test_a_host_with_a_path_is_400_and_builds_no_url_g5() -> None:
    """Row 7, and G4: neither at the server nor behind one that lets it through."""
    request = b"GET /api/v1/shop/mine HTTP/1.1\r\nHost: x/docs?\r\n\r\n"
    async with serving(shop()) as port:
        assert parse(await exchange(port, request)).status == 400
    async with browser(shop()) as client:
        answer = await client.get(f"{SHOP}/mine", headers={"host": "x/docs?"})
    assert answer.status_code in (400, 401)


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
async def test_the_body_limit_of_a_route_counts_bytes_g5(framing: bytes) -> None:
    """Row 8, and G40: without a gateway in front too; the connection closes."""
    head = b"POST /api/v1/shop/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    size = 2 * MAX_BODY
    body = b"x" * size if framing.startswith(b"Content") else b"%x\r\n" % size + b"x" * size + b"\r\n"
    async with serving(shop()) as port:
        answer = parse(await exchange(port, head + framing + b"\r\n\r\n" + body))

    assert answer.status == 413
    assert answer["connection"] == "close"
    assert answer.problem["code"] == "too_large"
