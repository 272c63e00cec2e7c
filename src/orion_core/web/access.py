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


def needs(permission: str) -> dict[str, Any]:
    """A person who holds `permission` (``resource:action``)."""
    return {OPT: AccessRule(True, permission)}
