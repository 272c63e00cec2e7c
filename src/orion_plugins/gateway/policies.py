"""Which limit a request falls under: attempts that guesses aim at have limits of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from orion_core.ports.limits import Policy

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1); TRACE is not served."""
_POLICY: Final = re.compile(r"([0-9]{1,7})/([0-9]{1,8})")


def policy(name: str, text: str) -> Policy:
    """The policy called `name` that `text` says as ``requests/seconds``; raises ValueError."""
    found = _POLICY.fullmatch(text)
    if found is None:
        raise ValueError(f"must be requests/seconds, such as 600/60, not {text!r}")
    return Policy(name, int(found[1]), int(found[2]))


def by_route(general: Policy, special: tuple[tuple[str, Policy], ...]) -> Callable[[Any], Policy]:
    """A function that gives the policy of an ASGI scope.

    `special` are path prefixes, in whole segments, with policies that take the place of `general` for requests that
    change something: so a login has a bucket of its own, and reading below the same path has not.
    """

    def choose(scope: Any) -> Policy:
        if scope["type"] == "http" and scope["method"] not in SAFE:
            path = scope["path"]
            for prefix, chosen in special:
                if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                    return chosen
        return general

    return choose
