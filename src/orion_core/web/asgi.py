"""The three callables of ASGI, and how to answer without a framework."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from orion_core.context import current
from orion_core.errors import Error, Internal, problem

log = logging.getLogger("orion.web")

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBLEM = "application/problem+json"
_CLOSING = (408, 413)
"""What is answered with the body still on its way: reading on to the next request would mean to take all of it."""


def problem_document(error: Error, path: str) -> dict[str, Any]:
    """The RFC 9457 document of `error` for the request of the current context."""
    document = {**problem(error), "instance": path, "request_id": current().correlation_id}
    return {name: _sendable(member) for name, member in document.items()}


def _sendable(plain: Any) -> Any:
    # Errors name what a client sent, and half a surrogate pair in that has no form in UTF-8.
    if isinstance(plain, str):
        return plain.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(plain, dict):
        return {name: _sendable(inner) for name, inner in plain.items()}
    return [_sendable(inner) for inner in plain] if isinstance(plain, list | tuple) else plain


def problem_headers(error: Error) -> dict[str, str]:
    """The headers of `error`: Retry-After (at least 1 s), WWW-Authenticate, and that nobody is to guess its type."""
    headers = {"x-content-type-options": "nosniff"}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def closing(scope: Mapping[str, Any], error: Error) -> dict[str, str]:
    """The header that ends the connection after `error`, where one is needed; HTTP/2 and later have none."""
    ends = error.status in _CLOSING and scope.get("http_version", "1.1") in ("1.0", "1.1")
    return {"connection": "close"} if ends else {}


async def answer(
    send: Send, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> None:
    """Send one whole response."""
    pairs: Iterable[tuple[str, str]] = {
        "content-type": content_type,
        "content-length": str(len(body)),
        **(headers or {}),
    }.items()
    raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in pairs]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def answer_problem(scope: Scope, send: Send, error: Error, headers: Mapping[str, str] | None = None) -> None:
    """Answer `error` as problem+json."""
    body = json.dumps(problem_document(error, scope["path"]), ensure_ascii=False).encode()
    await answer(
        send, error.status, body, PROBLEM, {**problem_headers(error), **closing(scope, error), **(headers or {})}
    )


async def answer_failure(scope: Scope, send: Send, error: Exception) -> None:
    """Answer what an application raised before its answer began; of a defect the client learns nothing."""
    if not isinstance(error, Error):
        log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        error = Internal("something went wrong on our side")
    await answer_problem(scope, send, error)


async def answer_json(send: Send, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
    """Answer `document` as JSON."""
    await answer(send, status, json.dumps(document).encode(), "application/json", headers)


def joined(scope: Scope, name: bytes) -> str:
    """All headers called `name` (lower case) as one list (RFC 9110, 5.3): a proxy may add a line of its own."""
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def header(scope: Scope, name: bytes) -> str:
    """The first header called `name` (lower case), or the empty text."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
