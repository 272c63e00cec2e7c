"""The access log: one line of JSON per request, complete, and not to be forged (G61)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from small_app import ADA, bearer, browser, shop

from orion_core.observability import logging as logs
from orion_core.web import access_log
from orion_core.web.edge import edge

FIELDS = {
    "ts",
    "request_id",
    "trace_id",
    "method",
    "route",
    "status",
    "bytes",
    "duration_ms",
    "upstream",
    "upstream_ms",
    "cache",
    "retries",
    "breaker",
    "user_id",
    "client_ip",
}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the process logs, in the form of production; the loggers are put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    logs.setup("info", "json", stream=stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    return [line for line in found if line["logger"] == "orion.access"]


async def test_a_request_has_one_line_with_all_its_fields(written: io.StringIO) -> None:
    """G61."""
    async with browser(shop()) as client:
        answer = await client.get("/api/v1/shop/mine", headers={**bearer("ada"), "x-request-id": "r-1"})

    [line] = lines(written)
    assert set(line) >= FIELDS
    assert (line["request_id"], line["route"], line["status"]) == ("r-1", "/api/v1/shop/mine", 200)
    assert (line["bytes"], line["user_id"]) == (len(answer.content), ADA)
    assert (line["upstream"], line["upstream_ms"], line["cache"], line["retries"]) == ("", None, "", 0)


async def test_the_route_is_its_template_whatever_was_asked_for(written: io.StringIO) -> None:
    """G61: lines of one route can be counted together."""
    async with browser(shop()) as client:
        await client.patch(f"/api/v1/shop/orders/{ADA}", json={"article": "book", "count": 1})
        await client.get("/nowhere")

    assert [line["route"] for line in lines(written)] == ["/api/v1/shop/orders/{order}", ""]


async def test_what_layers_tell_through_the_scope_is_in_the_line(written: io.StringIO) -> None:
    """G61: upstream, its time, cache, retries and breaker."""
    told = {
        access_log.UPSTREAM: "users",
        access_log.UPSTREAM_MS: 12.3456,
        access_log.CACHE: "miss",
        access_log.RETRIES: 2,
        access_log.BREAKER: "half_open",
        access_log.TEMPLATE: "/api/v1/users/{user_id}",
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope.update(told)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"four", "more_body": True})
        await send({"type": "http.response.body", "body": b"five5"})

    async with browser(edge(app, ())) as client:
        await client.get("/api/v1/users/1")

    [line] = lines(written)
    assert (line["upstream"], line["upstream_ms"], line["cache"], line["retries"], line["breaker"], line["route"]) == (
        "users",
        12.35,
        "miss",
        2,
        "half_open",
        "/api/v1/users/{user_id}",
    )
    assert line["bytes"] == 9


@pytest.mark.parametrize(
    "path",
    ["/a%0D%0A{%22logger%22:%20%22orion.access%22}", "/a%1b[31mred", "/a%00", "/%E2%80%A8x", "/%c2%85", '/"}%0a{"x":"'],
)
async def test_nothing_in_a_path_breaks_the_line_or_reaches_a_terminal(written: io.StringIO, path: str) -> None:
    """G61: carriage return, line feed and ANSI sequences."""
    async with browser(shop()) as client:
        await client.get(path)

    assert len(lines(written)) == 1
    raw = written.getvalue()
    assert len(raw.splitlines()) == raw.count("\n") == 1
    assert not {"\r", "\x1b", "\x00", "\u2028", "\x85"} & set(raw)


async def test_no_query_header_or_body_is_in_the_log(written: io.StringIO) -> None:
    """G61."""
    headers = {**bearer("hunter2"), "cookie": "s=hunter2", "x-api-key": "hunter2", "referer": "http://x/?t=hunter2"}
    async with browser(shop()) as client:
        await client.post("/api/v1/shop/orders?token=hunter2", json={"email": "hunter2"}, headers=headers)

    assert len(lines(written)) == 1
    assert "hunter2" not in written.getvalue()
