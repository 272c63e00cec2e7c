"""What can be set of one configured upstream."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from orion_plugins.gateway.address import Address
from orion_plugins.gateway.headers import set_by_the_gateway

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_HEALTH = re.compile(r"/[!-~]*")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_CREDENTIALS = ("authorization", "cookie")

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _matches(pattern: re.Pattern[str], words: str, *, optional: bool = False) -> Validator:
    def check(_: Any, field: attrs.Attribute[Any], given: str) -> None:
        if not (optional and not given) and not pattern.fullmatch(given):
            raise ValueError(f"{field.name} must be {words}, not {given!r}")

    return check


def _one_of(*words: str) -> Validator:
    def check(_: Any, field: attrs.Attribute[Any], given: str | Iterable[str]) -> None:
        for each in (given,) if isinstance(given, str) else given:
            if each not in words:
                raise ValueError(f"{field.name} must be one of {', '.join(words)}, not {each!r}")

    return check


def _positive(_: Any, field: attrs.Attribute[Any], given: float) -> None:
    if not 0 < given < float("inf"):
        raise ValueError(f"{field.name} must be more than 0, not {given}")


def _header_names(_: Any, field: attrs.Attribute[Any], given: Iterable[str]) -> None:
    for name in given:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{field.name}: {name!r} is no name of a header field")


def _header_fields(_: Any, field: attrs.Attribute[Any], given: Mapping[str, str]) -> None:
    _header_names(_, field, given)
    for name, value in given.items():
        if not _VALUE.fullmatch(value):
            raise ValueError(f"{field.name}: the value of {name} must be printable ASCII on one line")
        if set_by_the_gateway(name):
            raise ValueError(f"{field.name}: {name} is set by the gateway itself")


def _urls(_: Any, field: attrs.Attribute[Any], given: Iterable[str]) -> None:
    if not given:
        raise ValueError(f"{field.name} must give at least one URL")
    for url in given:
        Address.parse(url)


@attrs.frozen(kw_only=True)
class FallbackSettings:
    """What is answered when the upstream gives no usable answer: the first of these that is set and can be had.

    A stale entry of the response cache, the answer of another configured upstream, a body that never changes.
    """

    stale: bool = False
    upstream: str = ""
    status: int = attrs.field(default=200)
    body: str = ""
    content_type: str = attrs.field(
        default="application/json", validator=_matches(_VALUE, "a content type such as application/json")
    )

    @status.validator
    def _check_status(self, field: attrs.Attribute[int], given: int) -> None:
        if not 200 <= given <= 599 or given in (204, 304):
            raise ValueError(f"{field.name} must be from 200 to 599 and of an answer with a body, not {given}")


@attrs.frozen(kw_only=True)
class UpstreamSettings:
    """One upstream, as ``[gateway.upstreams.<name>]`` in orion.toml says; times in seconds.

    `prefix` is the public path that goes there, cut off on the way with `strip_prefix`. `urls` are its replicas, which
    share the load by `balance`; with `health`, a path, each is asked for it every `health_interval`. `timeout` is for
    everything up to the head of an answer, `idle_timeout` for silence after that. `forward` names the credentials of
    the client that the upstream may see. Header fields are added (in place of the client's) and dropped, both ways.
    """

    prefix: str = attrs.field(validator=_matches(_PREFIX, "a path such as /shop, without / at the end"))
    urls: tuple[str, ...] = attrs.field(validator=_urls)
    strip_prefix: bool = False
    balance: str = attrs.field(default="round_robin", validator=_one_of("round_robin", "least_busy"))
    health: str = attrs.field(default="", validator=_matches(_HEALTH, "a path such as /health", optional=True))
    health_interval: float = attrs.field(default=5.0, validator=_positive)
    timeout: float = attrs.field(default=60.0, validator=_positive)
    idle_timeout: float = attrs.field(default=60.0, validator=_positive)
    forward: tuple[str, ...] = attrs.field(default=(), validator=_one_of(*_CREDENTIALS))
    add_headers: Mapping[str, str] = attrs.field(factory=dict, validator=_header_fields, repr=False)
    drop_headers: tuple[str, ...] = attrs.field(default=(), validator=_header_names)
    add_response_headers: Mapping[str, str] = attrs.field(factory=dict, validator=_header_fields)
    drop_response_headers: tuple[str, ...] = attrs.field(default=(), validator=_header_names)
    fallback: FallbackSettings | None = None

    def __str__(self) -> str:
        return f"{self.prefix} at {' '.join(self.urls)}"

    @property
    def hidden(self) -> tuple[str, ...]:
        """The header fields of a client that this upstream does not get."""
        return (*self.drop_headers, *(name for name in _CREDENTIALS if name not in self.forward))


def problems(upstreams: Mapping[str, UpstreamSettings]) -> list[str]:
    """What is wrong between `upstreams`, in words: two with one prefix, a fallback to one that is not there."""
    found = []
    prefixes: dict[str, str] = {}
    for name, upstream in upstreams.items():
        other = prefixes.setdefault(upstream.prefix, name)
        if other != name:
            found.append(f"{name}: the prefix {upstream.prefix} is that of {other} too; give each its own")
        wanted = upstream.fallback.upstream if upstream.fallback is not None else ""
        if wanted and (wanted == name or wanted not in upstreams):
            known = ", ".join(sorted(set(upstreams) - {name})) or "none"
            found.append(f"{name}: fallback.upstream names {wanted!r}, which is no other upstream; there are {known}")
    return found
