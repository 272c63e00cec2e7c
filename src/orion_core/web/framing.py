"""What the head of a request may look like on the wire (RFC 9112), beyond what the parser refuses by itself (G3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from orion_core.errors import Error, Malformed

METHODS = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT"})
ALLOW = ", ".join(sorted(method.decode() for method in METHODS))
_VERSIONS = ("1.1", "1.0")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)/[^#]*")


class MethodRefused(Error):
    """A method that no route has, or that would show a proxy's inside; answers 405 with Allow."""

    status = 405
    title = "Method not allowed"
    code = "method_not_allowed"


class RequestTimeout(Error):
    """The request was not whole in time; answers 408."""

    status = 408
    title = "Request timeout"
    code = "request_timeout"


class TargetTooLong(Error):
    """The request target is longer than is read; answers 414."""

    status = 414
    title = "Target too long"
    code = "target_too_long"


class HeadersTooLarge(Error):
    """More header fields, or more bytes of them, than are read; answers 431."""

    status = 431
    title = "Headers too large"
    code = "headers_too_large"


@attrs.frozen(kw_only=True)
class Limits:
    """How much a client may send, and how long it may take.

    `header_timeout` are seconds until the head of a request is whole, `body_timeout` seconds without a byte of a body,
    or without a byte taken of an answer, and `request_timeout` seconds until all of a request has come. `fields` and
    `field_bytes` bound the head's fields and the trailer's together, `target` the bytes of the request target.
    """

    header_timeout: float = 10.0
    body_timeout: float = 15.0
    request_timeout: float = 60.0
    fields: int = 100
    field_bytes: int = 16 * 1024
    target: int = 8 * 1024


def check_head(method: bytes, version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise what a head that the parser let through is refused with; names in `headers` are lower case.

    Refused are methods other than those of REST, versions other than 1.0 and 1.1, a missing, second or malformed Host,
    a target that is neither a path nor the URL of this Host, and a Transfer-Encoding other than one ``chunked``.
    """
    if method not in METHODS:
        raise MethodRefused(f"{method.decode('latin-1')} is not possible here")
    if version not in _VERSIONS:
        raise Malformed(f"HTTP/{version} is not spoken here: send HTTP/1.1")
    host = coding = None
    for name, value in headers:
        if name == b"host":
            if host is not None:
                raise Malformed("host: is given twice")
            host = value
        elif name == b"transfer-encoding":
            if coding is not None or value.strip(b" \t").lower() != b"chunked":
                raise Malformed("transfer-encoding: only chunked, once, is understood")
            coding = value
    if host is None:
        raise Malformed("host: is missing")
    if not _HOST.fullmatch(host.strip(b" \t")):
        raise Malformed("host: must be a name or an address, with or without a port")
    if coding is not None and version == "1.0":
        raise Malformed("transfer-encoding: there is none in HTTP/1.0")
    _check_target(target, host.strip(b" \t"))


def _check_target(target: bytes, host: bytes) -> None:
    if target.startswith(b"/"):
        if b"#" in target:
            raise Malformed("the request target must not have a fragment")
        return
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Malformed("the request target must begin with /")
    if absolute[1].lower() != host.lower():
        raise Malformed("the request target and Host name different hosts")
