"""Which route takes a request, and what it declares: for those who must know before the route's own framework looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
from litestar import Router
from litestar.routes import HTTPRoute
from litestar.types.empty import Empty

from orion_core.web.access import COOKIES, STREAMS

_ONE = "{}"
_REST = "{*}"


@attrs.frozen
class RouteInfo:
    """What one method of one route declares.

    `template` is its path with names in braces, `max_body` the most bytes of a request body, None for any number;
    `streams` says that bodies take as long as they move, `cookies` that the route reads cookies, `open_ended` that its
    last parameter is the rest of the path.
    """

    template: str
    max_body: int | None
    streams: bool
    cookies: bool
    open_ended: bool


@attrs.define
class _Node:
    children: dict[str, _Node] = attrs.field(factory=dict)
    methods: dict[str, RouteInfo] = attrs.field(factory=dict)


class RouteTable:
    """Routes by their paths; fixed segments win over parameters, as in the router itself."""

    def __init__(self, routes: Iterable[Any], *, max_body: int) -> None:
        """Take the HTTP routes among `routes`; those that name no limit of their own take bodies up to `max_body`."""
        self._root = _Node()
        for route in routes:
            if isinstance(route, HTTPRoute):
                self._add(route, max_body)

    @classmethod
    def of(cls, controllers: Iterable[type], *, max_body: int) -> RouteTable:
        """The table of `controllers`, which need not be served here."""
        return cls(Router("/", route_handlers=list(controllers)).routes, max_body=max_body)

    def find(self, method: str, path: str) -> RouteInfo | None:
        """What takes `method` of `path`; None if no route does."""
        segments = [segment for segment in path.split("/") if segment]
        for node in _nodes(self._root, segments, 0):
            if found := node.methods.get(method):
                return found
        return None

    def _add(self, route: HTTPRoute, max_body: int) -> None:
        node, name = self._root, ""
        for part in route.path_components:
            name = part if isinstance(part, str) else _REST if part.type is Path else _ONE
            node = node.children.setdefault(name, _Node())
        for handler in route.route_handlers:
            limit = handler.request_max_body_size
            for method in handler.http_methods:
                node.methods[method] = RouteInfo(
                    route.path_format,
                    max_body if limit is Empty else limit,
                    bool(handler.opt.get(STREAMS)),
                    bool(handler.opt.get(COOKIES)),
                    name == _REST,
                )


def _nodes(node: _Node, segments: list[str], at: int) -> Iterator[_Node]:
    """The nodes that all of `segments` from `at` on lead to, the most fixed one first."""
    if at == len(segments):
        yield node
        return
    if child := node.children.get(segments[at]):
        yield from _nodes(child, segments, at + 1)
    if child := node.children.get(_ONE):
        yield from _nodes(child, segments, at + 1)
    if child := node.children.get(_REST):
        yield child
