"""Logs: one line per event, no secrets, nothing forged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from orion_core.context import Context, use
from orion_core.observability.logging import setup


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(form: str, *, message: str = "hello", error: str = "", **extra: Any) -> list[str]:
    """What one call logs."""
    stream = io.StringIO()
    setup("info", form, "shop", stream)
    log = logging.getLogger("orion.test")
    if error:
        try:
            raise RuntimeError(error)
        except RuntimeError:
            log.exception(message, extra=extra)
    else:
        log.info("%s", message, extra=extra)
    return stream.getvalue().splitlines()


def test_a_line_is_one_json_object_with_what_belongs_to_the_request() -> None:
    context = Context(correlation_id="order-7", traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    with use(context):
        [line] = lines("json", status=200)

    found = json.loads(line)
    assert found.pop("ts").endswith("Z")
    assert found == {
        "event": "hello",
        "level": "info",
        "logger": "orion.test",
        "service": "shop",
        "correlation_id": "order-7",
        "trace_id": "1" * 32,
        "span_id": "2" * 16,
        "status": 200,
    }


@pytest.mark.parametrize("form", ["json", "text"])
def test_fields_that_are_named_like_secrets_are_hidden_at_any_depth(form: str) -> None:
    found = "\n".join(
        lines(
            form,
            password="hunter2",
            refresh_token="hunter2",
            request={
                "headers": [{"Authorization": "hunter2", "set-cookie": "hunter2"}],
                "in": {"api_key": "hunter2"},
            },
            call_key="hunter2",
        )
    )

    assert "hunter2" not in found
    assert "***" in found


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("where", ["message", "field", "nested"])
@pytest.mark.parametrize("bad", ["\n", "\r\n", "\x1b[2J", "\x00", "\u2028", "\x9b", "\x08"])
def test_no_input_can_forge_a_line_or_move_the_cursor(form: str, where: str, bad: str) -> None:
    text = f"a{bad}2026-01-01 [info] all is well"
    found = lines(
        form,
        message=text if where == "message" else "hello",
        **({"path": text} if where == "field" else {"more": {"path": [text]}} if where == "nested" else {}),
    )

    assert len(found) == 1
    assert bad not in found[0]


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_brings_its_stack_and_no_control_characters(form: str) -> None:
    found = lines(form, message="failed", error="no\x1b[2J")

    assert (len(found) == 1) == (form == "json")
    assert "Traceback" in "".join(found)
    assert "RuntimeError: no" in "".join(found)
    assert "\x1b[2J" not in "".join(found)


def test_a_person_gets_text_and_a_machine_json() -> None:
    for stream, is_json in ((Terminal(), False), (io.StringIO(), True)):
        setup("info", "auto", stream=stream)
        logging.getLogger("orion.test").info("hello")
        assert stream.getvalue().startswith("{") == is_json


def test_chatty_libraries_are_quiet() -> None:
    stream = io.StringIO()
    setup("info", "json", stream=stream)
    logging.getLogger("httpx").info("GET http://x/?token=hunter2")
    logging.getLogger("pika").info("frame")

    assert stream.getvalue() == ""
