"""Structured logs: one JSON object per line, or readable text on a terminal, always with the correlation id.

Lines of libraries and of the server take the same form. Fields that are named like secrets are replaced at any depth,
and control characters cannot forge a line.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from orion_core.context import _current

_SECRET = re.compile(
    r"password|passwd|secret|token|authorization|cookie|api_?key|call_key|keyring|pepper|credential", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LINES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
"""JSON escapes line feeds by itself; on a terminal one would begin what looks like another line."""
_STACKS = ("exception", "stack")
HIDDEN = "***"


def setup(level: str = "info", form: str = "auto", service: str = "", stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream` (standard error) in one form; `service` is in every line."""
    target = sys.stderr if stream is None else stream
    text = form == "text" or (form == "auto" and target.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _context,
        structlog.processors.format_exc_info,
        _clean(_LINES if text else _CONTROL),
    ]
    last: Any = structlog.dev.ConsoleRenderer(timestamp_key="ts") if text else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_named(service), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # httpx logs full URLs at info.
    for noisy in ("httpx", "httpcore", "asyncio", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # pika tells of a lost connection in seven error lines; our client tells in one.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own).handlers.clear()
        logging.getLogger(own).propagate = True
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    # The command line says what uvicorn would say, in the user's words.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _named(service: str) -> Any:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if service:
            event["service"] = service
        return event

    return add


def _context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = _current.get()
    if context is not None:
        event["correlation_id"] = context.correlation_id
        event["trace_id"], event["span_id"] = context.traceparent.split("-")[1:3]
    return event


def _clean(forbidden: re.Pattern[str]) -> Any:
    def clean(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        # A stack has lines.
        return {
            key: HIDDEN if _SECRET.search(key) else _safe(found, _CONTROL if key in _STACKS else forbidden)
            for key, found in event.items()
        }

    return clean


def _safe(found: Any, forbidden: re.Pattern[str]) -> Any:
    if isinstance(found, str):
        return forbidden.sub(lambda match: f"\\x{ord(match[0]):02x}", found)
    if isinstance(found, Mapping):
        return {key: HIDDEN if _SECRET.search(str(key)) else _safe(inner, forbidden) for key, inner in found.items()}
    if isinstance(found, (list, tuple)):
        return [_safe(inner, forbidden) for inner in found]
    return found
