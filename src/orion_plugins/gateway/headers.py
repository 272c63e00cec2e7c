"""Which header fields cross the gateway, in either direction. Pure functions on lists of (name, value)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from orion_core.context import child_traceparent
from orion_plugins.gateway.client import Headers, Unsendable

# RFC 9110 section 7.6.1, and the fields that older implementations treat alike.
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Set by the gateway or by its client: what a caller says here counts for nothing.
_OURS: Final = frozenset(
    {
        b"content-length",
        b"expect",
        b"forwarded",
        b"host",
        b"orion-context",
        b"traceparent",
        b"tracestate",
        b"x-real-ip",
        b"x-request-id",
        b"x-request-timeout",
        b"x-user-id",
    }
)
_DROPPED: Final = _HOP_BY_HOP | _OURS
_DROPPED_PREFIXES: Final = (b"x-forwarded-", b"x-orion-")
CREDENTIALS: Final = "orion_credentials"
"""Where in the scope it stands which of Authorization and Cookie go on; none do unless they are named there."""
_SECRET: Final = frozenset({b"authorization", b"cookie"})
_KEPT: Final = b"x-orion-session"  # a client's own choice of cookies over tokens
_DROPPED_FROM_ANSWERS: Final = _HOP_BY_HOP | {b"server", b"date", b"x-request-id"}
_WITHOUT_CONTENT: Final = (204, 304)
_DIGITS: Final = re.compile(rb"[0-9]{1,19}")


def set_by_the_gateway(name: str) -> bool:
    """Whether the field `name` is the gateway's own, or concerns one hop only, so that nobody else may set it."""
    return _is_dropped(name.lower().encode("ascii"))


def to_upstream(
    headers: Headers,
    *,
    client: str,
    scheme: str,
    host: bytes,
    request_id: str,
    traceparent: str,
    tracestate: str = "",
    credentials: Collection[bytes] = (),
) -> list[tuple[bytes, bytes]]:
    """A client's header fields as an upstream may see them, the gateway's own added.

    Left out: hop-by-hop fields and those that Connection names; X-Forwarded-*, Forwarded, X-Real-IP, X-User-Id,
    X-Orion-* (but for X-Orion-Session) and fields that become one of these when ``_`` is read as ``-``; Host, Expect
    and framing; Authorization and Cookie unless they are among `credentials`. Our own fields are added last, so
    Connection cannot remove them.
    `client` is the address of the client as far as it is trusted; the trace goes on with a new parent id.
    """
    named = _named_in_connection(headers)
    kept = [
        field
        for field in headers
        if field[0] not in named and not _is_dropped(field[0]) and (field[0] not in _SECRET or field[0] in credentials)
    ]
    kept += (
        (b"x-forwarded-for", client.encode("ascii")),
        (b"x-forwarded-proto", scheme.encode("ascii")),
        (b"x-forwarded-host", host),
        (b"x-request-id", request_id.encode("ascii")),
        (b"traceparent", child_traceparent(traceparent).encode("ascii")),
    )
    if tracestate:
        kept.append((b"tracestate", tracestate.encode("ascii")))
    return kept


def to_client(headers: Headers, status: int) -> list[tuple[bytes, bytes]]:
    """An upstream's header fields as the client may see them.

    Left out: hop-by-hop fields and those that Connection names; Server, Date and X-Request-ID, which the gateway's own
    host sets on every answer; and, for an answer that has no content by its status, Content-Length.
    """
    named = _named_in_connection(headers)
    empty = status in _WITHOUT_CONTENT
    return [
        field
        for field in headers
        if field[0] not in _DROPPED_FROM_ANSWERS
        and field[0] not in named
        and not (empty and field[0] == b"content-length")
    ]


def content_length(headers: Headers) -> int | None:
    """How many bytes the body of a request has: 0 without one, None when it is chunked.

    Raises `Unsendable` for a Content-Length that is no number, is given twice, or stands beside Transfer-Encoding.
    """
    lengths = [value for name, value in headers if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if not lengths:
        return None if chunked else 0
    if chunked or len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise Unsendable("content-length: give one number, and no transfer-encoding beside it")
    return int(lengths[0])


def _named_in_connection(headers: Headers) -> frozenset[bytes]:
    tokens = [token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")]
    return frozenset(tokens)


def _is_dropped(name: bytes) -> bool:
    if name == _KEPT:
        return False
    if b"_" in name:
        # Servers behind CGI-like interfaces read X_User_Id as X-User-Id.
        name = name.replace(b"_", b"-")
    return name in _DROPPED or name.startswith(_DROPPED_PREFIXES)
