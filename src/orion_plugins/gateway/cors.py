"""CORS: which pages of other origins may read answers (WHATWG Fetch, 3.2), decided here and nowhere behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from orion_core.errors import Forbidden
from orion_core.web.asgi import answer_failure, answer_problem
from orion_plugins.gateway.origins import ANY
from orion_plugins.gateway.settings import GatewaySettings

App = Callable[[Any, Any, Any], Awaitable[None]]
Fields = tuple[tuple[bytes, bytes], ...]

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Range",
    "X-Orion-Session",
    "X-Request-ID",
    "Traceparent",
    "Tracestate",
)
"""What pages may send: the fields that ORION's routes read; more are a setting."""
EXPOSED: Final = (
    b"Accept-Ranges, Content-Disposition, Content-Range, ETag, Location, RateLimit, RateLimit-Policy, Retry-After, "
    b"X-Request-ID"
)
"""What pages may read, beside the fields that they always may."""
_VARY: Final = (b"vary", b"Origin")
_ASKED: Final = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
_TWO: Final = b""
"""Stands for several origins, of which none can be believed."""


class OriginRefused(Forbidden):
    """A page of another origin asks whether it may send a request, and it may not."""

    code = "gateway.origin_refused"


def cors(app: App, settings: GatewaySettings) -> App:
    """Answer preflights, and let pages of the origins in `settings` read what `app` answers.

    An origin counts if it is the same text, and ``null`` never does. Every answer says ``Vary: Origin`` if any origin
    is allowed, whatever the request had; Access-Control fields of what is behind are removed. An error that `app`
    raises is answered here, so that the page which may read the answer reads the error too.
    """
    granted, otherwise = _grants(settings)
    refused: Fields = (_VARY,) if settings.cors_origins else ()
    listed = ", ".join((*HEADERS, *settings.cors_headers)).encode()
    possible: Fields = (
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", listed),
        (b"access-control-max-age", b"%d" % settings.cors_max_age),
        (b"vary", _ASKED),
    )

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        origin = _origin(scope["headers"])
        fields = otherwise if origin is None else granted.get(origin, otherwise)
        if origin is not None and scope["method"] == "OPTIONS" and _is_preflight(scope["headers"]):
            if fields == refused:
                error = OriginRefused("pages of this origin may not send requests here")
                await answer_problem(scope, send, error, {"vary": _ASKED.decode()})
            else:
                allowed = [field for field in fields if field[0].startswith(b"access-control-allow-")]
                await send({"type": "http.response.start", "status": 204, "headers": [*allowed, *possible]})
                await send({"type": "http.response.body", "body": b""})
            return
        started = False

        async def readable(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                kept = [field for field in message["headers"] if not field[0].lower().startswith(b"access-control-")]
                kept += fields
                message = {**message, "headers": kept}
            await send(message)

        try:
            await app(scope, receive, readable)
        except Exception as error:
            if started:
                raise
            await answer_failure(scope, readable, error)

    return layer


def _grants(settings: GatewaySettings) -> tuple[dict[bytes, Fields], Fields]:
    """What is added to answers by the origin of the request, and to those of all others."""
    exposed = (b"access-control-expose-headers", EXPOSED)
    if ANY in settings.cors_origins:
        refused: Fields = (_VARY,)
        return {b"null": refused, _TWO: refused}, ((b"access-control-allow-origin", b"*"), exposed, _VARY)
    credentials: Fields = ((b"access-control-allow-credentials", b"true"),) if settings.cors_credentials else ()
    granted = {
        origin.encode(): ((b"access-control-allow-origin", origin.encode()), *credentials, exposed, _VARY)
        for origin in settings.cors_origins
    }
    return granted, (_VARY,) if granted else ()


def _origin(headers: Any) -> bytes | None:
    found = [value for name, value in headers if name == b"origin"]
    return None if not found else found[0] if len(found) == 1 else _TWO


def _is_preflight(headers: Any) -> bool:
    return any(name == b"access-control-request-method" for name, _ in headers)
