"""HEAD answers like GET without a body."""

from __future__ import annotations

import pytest
from raw_http import exchange, parse, serving
from small_app import bearer, browser, shop

SHOP = "/api/v1/shop"


@pytest.mark.parametrize(
    ("path", "token"),
    [(f"{SHOP}/whoami", ""), (f"{SHOP}/mine", ""), (f"{SHOP}/mine", "ada"), (f"{SHOP}/broken", ""), ("/nowhere", "")],
)
async def test_head_has_status_and_headers_of_get(path: str, token: str) -> None:
    """Refusals included."""
    headers = {**(bearer(token) if token else {}), "x-request-id": "r-1"}
    async with browser(shop()) as client:
        got, asked = await client.get(path, headers=headers), await client.head(path, headers=headers)

    assert asked.status_code == got.status_code
    assert asked.content == b""
    # Documents name the trace of their request, which is another one each time.
    assert set(asked.headers) == set(got.headers)
    assert got.content
    assert {**asked.headers, "content-length": ""} == {**got.headers, "content-length": ""}


async def test_no_body_goes_over_the_wire_and_the_next_request_is_answered() -> None:
    head = b"HEAD /api/v1/shop/pages HTTP/1.1\r\nHost: x\r\n\r\n"
    get = b"GET /api/v1/shop/pages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serving(shop()) as port:
        first = parse(await exchange(port, head + get), bodyless=True)

    second = parse(first.rest)
    assert (first.status, second.status) == (200, 200)
    assert first["content-length"] == str(len(second.body))


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_route_without_get_has_no_head(method: str) -> None:
    async with browser(shop()) as client:
        answer = await client.request(method, f"{SHOP}/orders")

    assert answer.status_code == 405
    assert "HEAD" not in answer.headers["allow"]


async def test_allow_names_head_beside_get() -> None:
    async with browser(shop()) as client:
        answer = await client.delete(f"{SHOP}/whoami")

    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_the_access_log_says_head_and_the_route(caplog: pytest.LogCaptureFixture) -> None:
    """G61."""
    caplog.set_level("INFO", "orion.access")
    async with browser(shop()) as client:
        await client.head(f"{SHOP}/mine", headers=bearer("ada"))

    [record] = [vars(record) for record in caplog.records if record.name == "orion.access"]
    assert (record["method"], record["route"], record["bytes"]) == ("HEAD", f"{SHOP}/mine", 0)
    assert record["user_id"]
