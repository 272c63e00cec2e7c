"""Which routes are open to anybody, known before Litestar has routed: also of services in other processes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping

from litestar.handlers import HTTPRouteHandler

from orion_core.web.access import OPT, AccessRule

_PARAMETER = re.compile(r"\{[^{}:]*:?([^{}]*)\}")


class PublicRoutes:
    """The routes in `controllers` that ask nothing of their caller."""

    def __init__(self, controllers: Iterable[type]) -> None:
        self._plain: set[tuple[str, str]] = set()
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        for method, path in _open(controllers):
            if "{" in path:
                self._patterns.append((method, re.compile(_pattern(path))))
            else:
                self._plain.add((method, path))

    def covers(self, method: str, path: str) -> bool:
        """Whether `method` on `path` is one of them."""
        path = path.rstrip("/") or "/"
        if (method, path) in self._plain:
            return True
        return any(known == method and pattern.fullmatch(path) for known, pattern in self._patterns)


def _open(controllers: Iterable[type]) -> Iterator[tuple[str, str]]:
    for controller in controllers:
        given = getattr(controller, "opt", None)
        # A controller that says nothing has a slot of this name instead.
        of_all = given if isinstance(given, Mapping) else {}
        for _, handler in inspect.getmembers(controller, lambda member: isinstance(member, HTTPRouteHandler)):
            rule = {**of_all, **handler.opt}.get(OPT)
            if not isinstance(rule, AccessRule) or rule.signed_in:
                continue
            for path in handler.paths or {"/"}:
                whole = "/".join(part.strip("/") for part in ("", getattr(controller, "path", ""), path))
                whole = "/" + whole.strip("/")
                for method in handler.http_methods:
                    yield method, whole


def _pattern(path: str) -> str:
    # What Litestar takes for a parameter is one segment, and the rest of the path for one of the type path.
    parts = []
    end = 0
    for found in _PARAMETER.finditer(path):
        parts += [re.escape(path[end : found.start()]), ".*" if found[1] == "path" else "[^/]+"]
        end = found.end()
    return "".join([*parts, re.escape(path[end:])])
