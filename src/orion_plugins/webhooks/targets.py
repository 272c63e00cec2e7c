"""URLs of endpoints, as pure functions: what can be said before a name is resolved."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

import attrs
import httpx

from orion_core.values import invalid
from orion_plugins.webhooks.addresses import Network, is_allowed, refusal

_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_PORTS = {"https": 443, "http": 80}


@attrs.frozen
class Target:
    """A URL taken apart. `authority` is the Host header; `path` is what is asked for, query included."""

    secure: bool
    host: str
    port: int
    authority: str
    path: str


def target(url: str, ports: Collection[int], allowed: Collection[Network]) -> Target:
    """`url` taken apart; raises `Invalid` for one that may never be called.

    Plain http and other ports than `ports` are left to the networks in `allowed`: whether the target is in one of them
    shows once its name is resolved, and is asked by `lenient` then.
    """
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise _bad("must be a URL without blanks, backslashes and control characters")
    try:
        parsed = httpx.URL(url)
        host, port = parsed.raw_host.decode("ascii"), parsed.port
    except (httpx.InvalidURL, ValueError, UnicodeError) as error:
        raise _bad("must be a URL like https://example.org/hooks") from error
    if parsed.scheme not in _PORTS or not host:
        raise _bad("must be a URL like https://example.org/hooks")
    if parsed.userinfo:
        raise _bad("must not contain a user or password")
    if "#" in url:
        raise _bad("must not have a fragment")
    number = _PORTS[parsed.scheme] if port is None else port
    if not 1 <= number <= 65535:
        raise _bad("must have a port from 1 to 65535")
    if not allowed:
        if parsed.scheme != "https":
            raise _bad("must begin with https://")
        if number not in ports:
            raise _bad(f"must use one of the ports {', '.join(map(str, sorted(ports)))}")
    _check_host(host, allowed)
    found = Target(
        parsed.scheme == "https", host, number, parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii")
    )
    if _is_address(host) and lenient(found, ports) and not is_allowed(host, allowed):
        raise _bad("must begin with https:// and use one of the usual ports: this address is in no allowed network")
    return found


def lenient(found: Target, ports: Collection[int]) -> bool:
    """Whether `found` may be called only if all its addresses are in allowed networks."""
    return not found.secure or found.port not in ports


def _check_host(host: str, allowed: Collection[Network]) -> None:
    if _is_address(host):
        if refusal(host, allowed):
            raise _bad("must not lead to an internal address")
        return
    # A dot at the end would fit no certificate, and would be one more spelling of the same name.
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise _bad("must have a host like hooks.example.org, without a dot at the end")
    # Such names are addresses in a spelling of another age: 0x7f000001, 2130706433, 127.1.
    if _NUMERIC.fullmatch(host.rpartition(".")[2]):
        raise _bad("must name its host, or give its address in the usual form")
    if not allowed and (host == "localhost" or host.endswith(".localhost")):
        raise _bad("must not lead to an internal address")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bad(detail: str) -> Exception:
    return invalid("url", "url", detail)
