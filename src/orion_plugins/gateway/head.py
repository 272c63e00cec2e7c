"""The head of a request, written so that it can be nothing but one head."""

from __future__ import annotations

from orion_plugins.gateway.address import Address
from orion_plugins.gateway.client import Headers, Unsendable


def request_head(address: Address, method: str, target: bytes, headers: Headers, own: bytes) -> bytes:
    """Request line, Host, `headers` and then `own`, whole lines that the caller vouches for.

    Raises `Unsendable` when anything of it would make another head, or more than one.
    """
    if not target.startswith(b"/") and target != b"*":
        raise Unsendable("request target: it must begin with /")
    if method == "CONNECT":
        raise Unsendable("request method: CONNECT cannot be forwarded")
    path = target if not address.prefix else address.prefix + target
    start = b"%b %b%b" % (method.encode("ascii"), path, address.version_and_host)
    head = b"%b%b%b\r\n" % (start, b"".join([b"%b: %b\r\n" % field for field in headers]), own)
    # One pass over the bytes instead of a check of each field: a line break inside any of them shows here.
    lines = 3 + len(headers) + own.count(b"\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines or start.count(b" ") != 3 or b"\0" in head:
        raise Unsendable("request head: a method, target or header holds a line break, a space or NUL")
    return head
