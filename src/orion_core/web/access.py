"""Who may use a route: every route says so, or the host does not start.

::

    @get("/me", opt=signed_in())
    @post("/register", opt=public())
    @get("/metrics/{name:str}", opt=needs("analytics:read"))
"""

from __future__ import annotations

from typing import Any

import attrs

OPT = "orion_access"
STREAMS = "orion_streams"
COOKIES = "orion_cookies"
API_KEYS = "orion_api_keys"
CREDENTIALS = "/api/v1/auth/"
"""Below this path people look after accounts, sessions, keys and roles: an API key may not, unless a route says so."""


@attrs.frozen
class AccessRule:
    """What a route asks of its caller: nothing, a signed-in person, or a permission."""

    signed_in: bool
    permission: str = ""


def public() -> dict[str, Any]:
    """Anybody; a valid token is still read."""
    return {OPT: AccessRule(False)}


def signed_in() -> dict[str, Any]:
    """Any person with a valid access token."""
    return {OPT: AccessRule(True)}


def streaming() -> dict[str, Any]:
    """Beside one of the others: the body or the answer is a stream of any length, so the total time is not limited.

    ``opt=signed_in() | streaming()``
    """
    return {STREAMS: True}


def cookies() -> dict[str, Any]:
    """Beside one of the others: the route reads cookies, so the gateway hands them on to it, and to no other.

    ``opt=public() | cookies()``
    """
    return {COOKIES: True}


def api_keys(allowed: bool) -> dict[str, Any]:
    """Beside one of the others: whether the route takes API keys, if that is not to be as its path says.

    ``opt=signed_in() | api_keys(False)``: below ``/api/v1/auth/`` routes take none, elsewhere they do.
    """
    return {API_KEYS: allowed}


def takes_api_keys(path: str, opt: dict[str, Any]) -> bool:
    """Whether the route with the template `path` and the options `opt` takes API keys."""
    return bool(opt.get(API_KEYS, not path.startswith(CREDENTIALS)))


def needs(permission: str) -> dict[str, Any]:
    """A person who holds `permission` (``resource:action``)."""
    return {OPT: AccessRule(True, permission)}
