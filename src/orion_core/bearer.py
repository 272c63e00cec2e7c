"""The bearer token of a request (RFC 6750, section 2.1): from the one Authorization header, and from nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orion_core.errors import Unauthenticated

_CREDENTIALS = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9\-._~+/]+=*)")


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token in the ASGI `headers`, whose names are in lower case; None when there is no Authorization header.

    Raises `Unauthenticated` for two Authorization headers, for another scheme than Bearer, and for credentials that are
    no single token. A token in the query string or in a body is never looked at.
    """
    found = [value for name, value in headers if name == b"authorization"]
    if not found:
        return None
    if len(found) > 1:
        raise Unauthenticated("send one Authorization header, not several")
    match = _CREDENTIALS.fullmatch(found[0].strip(b" \t"))
    if match is None:
        raise Unauthenticated("send the access token as: Authorization: Bearer <token>")
    return match[1].decode("ascii")
