"""Origins of web pages (RFC 6454), compared as exact texts and by nothing else."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

ANY: Final = "*"
_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def checked(origin: str) -> str:
    """`origin` if it is one as browsers send it; raises ValueError with the fix."""
    if origin == "null":
        raise ValueError("'null' is the origin of every sandboxed page: name the origins that are yours")
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(
            f"write origins as https://host or https://host:port, lower case and without / at the end, not {origin!r}"
        )
    try:
        given = origin_of(origin)
    except ValueError as error:
        raise ValueError(f"{origin!r}: {error}") from None
    if given != origin:
        raise ValueError(f"browsers send {given!r}: leave out the port that is the default, not {origin!r}")
    return origin


def origin_of(url: str) -> str:
    """The origin of `url` as browsers send it; raises ValueError for a bad port."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")
