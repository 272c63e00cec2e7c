"""Where an upstream is: its base URL, taken apart once."""

from __future__ import annotations

import re
import ssl
from typing import Self
from urllib.parse import urlsplit

import attrs

_PRINTABLE = re.compile(r"[!-~]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


@attrs.frozen
class Address:
    """Host, port, TLS, the end of every request line with the line of Host, and the path before every target."""

    host: str
    port: int
    version_and_host: bytes
    prefix: bytes
    tls: ssl.SSLContext | None

    @classmethod
    def parse(cls, base_url: str, tls: ssl.SSLContext | None = None) -> Self:
        """Read `base_url`, http or https; raises ValueError for anything else, for credentials, and for a query."""
        problem = f"upstream {base_url!r}: give it as http://host:port or https://host:port/prefix"
        if "@" in base_url:
            # Not repeated: what stands before it may be a password.
            raise ValueError(
                "upstream URL with a user: give it as http://host:port, and the password as an authorization header"
            )
        if not _PRINTABLE.fullmatch(base_url):
            raise ValueError(problem)  # `urlsplit` would leave line breaks out without a word
        try:
            url = urlsplit(base_url)
            port = url.port
            authority = url.netloc.encode("ascii")
        except ValueError:
            raise ValueError(problem) from None
        path = url.path.rstrip("/")
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or port == 0:
            raise ValueError(problem)
        if not _PATH.fullmatch(path):
            raise ValueError(problem)
        context = (tls or ssl.create_default_context()) if url.scheme == "https" else None
        version_and_host = b" HTTP/1.1\r\nhost: %b\r\n" % authority
        number = port or (80 if context is None else 443)
        return cls(url.hostname, number, version_and_host, path.encode("ascii"), context)
