"""The outermost layer: request id, trace, access log, and no unhandled error."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from small_app import ADA, bearer, browser, shop

from orion_core.context import current
from orion_core.errors import Conflict, Unavailable
from orion_core.web.client_ip import networks
from orion_core.web.edge import edge

WHOAMI = "/api/v1/shop/whoami"


async def test_a_harmless_request_id_is_kept() -> None:
    async with browser(shop()) as client:
        answer = await client.get(WHOAMI, headers={"x-request-id": "order-7:a.b_C"})

    assert answer.headers["x-request-id"] == answer.json()["correlation_id"] == "order-7:a.b_C"


@pytest.mark.parametrize("bad", ["", "a b", "a\tb", "x" * 65, 'a"b', "a;b", "é".encode().decode("latin-1")])
async def test_a_bad_request_id_is_replaced(bad: str) -> None:
    async with browser(shop()) as client:
        answer = await client.get(WHOAMI, headers=[(b"x-request-id", bad.encode("latin-1"))])

    replaced = answer.headers["x-request-id"]
    assert replaced != bad
    assert len(replaced) == 32
    assert answer.json()["correlation_id"] == replaced


async def test_every_request_has_an_id_of_its_own_and_there_is_one_header() -> None:
    async with browser(shop()) as client:
        first, second = await client.get(WHOAMI), await client.get("/nowhere")

    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert second.json()["request_id"] == second.headers["x-request-id"]
    assert len(second.headers.get_list("x-request-id")) == 1


async def test_a_trace_is_continued_as_a_child() -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    async with browser(shop()) as client:
        answer = await client.get(WHOAMI, headers={"traceparent": f"00-{trace}-{parent}-01"})

    version, same, child, flags = answer.json()["traceparent"].split("-")
    assert (version, same, flags) == ("00", trace, "01")
    assert child != parent
    assert answer.json()["correlation_id"] == trace


@pytest.mark.parametrize(
    "bad",
    [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    ],
)
async def test_a_bad_traceparent_begins_a_new_trace(bad: str) -> None:
    async with browser(shop()) as client:
        answer = await client.get(WHOAMI, headers={"traceparent": bad})

    made = answer.json()["traceparent"]
    assert made.split("-")[1] not in bad
    assert [len(part) for part in made.split("-")] == [2, 32, 16, 2]


async def test_an_unhandled_exception_is_a_problem_without_details_and_one_line_with_its_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with browser(shop()) as client:
        answer = await client.get("/api/v1/shop/broken")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.getMessage(), record.exc_info is not None) for record in errors] == [
        ("GET /api/v1/shop/broken failed", True)
    ]


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [(KeyError("x"), 500, "internal"), (Unavailable("closed"), 503, "unavailable"), (Conflict("no"), 409, "conflict")],
)
async def test_what_escapes_a_layer_is_answered_at_the_edge(raised: Exception, status: int, code: str) -> None:
    """Gateway layers raise past Litestar: the edge is the last that can answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise raised

    async with browser(edge(app, ())) as client:
        answer = await client.get("/x")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_an_answer_that_breaks_off_is_not_made_to_look_whole() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("broke off")

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None}
    with pytest.raises(RuntimeError, match="broke off"):
        await edge(app, ())(scope, None, send)  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_the_access_log_has_its_fields_and_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "orion.access")
    async with browser(shop()) as client:
        headers = {**bearer("ada"), "cookie": "session=hunter2"}
        await client.get("/api/v1/shop/mine?secret=hunter2", headers=headers)

    [record] = [record for record in caplog.records if record.name == "orion.access"]
    line = {key: vars(record)[key] for key in ("method", "path", "status", "client_ip", "user_id", "upstream")}
    assert line == {
        "method": "GET",
        "path": "/api/v1/shop/mine",
        "status": 200,
        "client_ip": "203.0.113.9",
        "user_id": ADA,
        "upstream": "",
    }
    assert vars(record)["duration_ms"] >= 0
    assert "hunter2" not in json.dumps(vars(record), default=str)


async def test_a_websocket_acts_as_nobody_and_not_as_the_system() -> None:
    """Without a context of its own the work of a WebSocket would run with all permissions."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current())

    scope = {"type": "websocket", "path": "/", "headers": [], "client": ("203.0.113.9", 1)}
    await edge(app, ())(scope, None, None)  # type: ignore[arg-type]

    assert (seen[0].actor.kind, seen[0].client_ip, seen[0].deadline) == ("anonymous", "203.0.113.9", None)


@pytest.mark.parametrize(
    ("peer", "told", "left"),
    [
        ("10.0.0.1", "", 60),
        ("10.0.0.1", "5S", 5),
        ("10.0.0.1", "1H", 60),
        ("10.0.0.1", "soon", 60),
        ("10.0.0.1", "0S", 60),
        ("10.0.0.1", "20m", 0.02),
        ("203.0.113.9", "20m", 60),
    ],
)
async def test_a_gateway_in_front_may_leave_less_time_but_never_more(peer: str, told: str, left: float) -> None:
    """G52: the deadline that X-Request-Timeout passes on; from a stranger it counts for nothing."""
    seen: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        deadline = current().deadline
        assert deadline is not None
        seen.append(deadline - asyncio.get_running_loop().time())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with browser(edge(app, networks(["10.0.0.0/8"])), peer=peer) as client:
        await client.get("/", headers={"x-request-timeout": told})
    assert left - 1 < seen[0] <= left
