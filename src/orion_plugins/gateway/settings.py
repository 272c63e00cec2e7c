"""What can be set of the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from orion_core.outside import Outside
from orion_plugins.gateway.origins import ANY, checked
from orion_plugins.gateway.policies import policy
from orion_plugins.gateway.upstream_settings import UpstreamSettings, problems

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


def _positive(_: Any, field: attrs.Attribute[Any], given: float) -> None:
    if not 0 < given < float("inf"):
        raise ValueError(f"{field.name} must be more than 0, not {given}")


def _limit(_: Any, field: attrs.Attribute[Any], given: str) -> None:
    try:
        policy(field.name, given)
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None


def _origins(_: Any, field: attrs.Attribute[Any], given: tuple[str, ...]) -> None:
    try:
        for origin in given:
            if origin != ANY:
                checked(origin)
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None


def _names(_: Any, field: attrs.Attribute[Any], given: tuple[str, ...]) -> None:
    for name in given:
        if not re.fullmatch(r"[A-Za-z0-9-]+", name):
            raise ValueError(f"{field.name}: write names of header fields, not {name!r}")


def _not_negative(_: Any, field: attrs.Attribute[Any], given: float) -> None:
    if not 0 <= given < float("inf"):
        raise ValueError(f"{field.name} must not be negative, and is {given}")


def _paths(_: Any, field: attrs.Attribute[Any], given: tuple[str, ...]) -> None:
    for path in given:
        if not path.startswith("/") or path.rstrip("/") != path or any(letter in path for letter in "?#%\\ "):
            raise ValueError(f"{field.name}: write {path!r} as /path, without / at the end")


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """Settings of the gateway: ``ORION_GATEWAY_*``, or ``[gateway]`` in orion.toml."""

    connections: int = attrs.field(
        default=100, validator=_positive, metadata={"help": "connections to one URL of a peer at the most"}
    )
    connect_timeout: float = attrs.field(default=2.0, validator=_positive, metadata={"help": "seconds to reach a peer"})
    idle_timeout: float = attrs.field(
        default=60.0, validator=_positive, metadata={"help": "seconds a peer may stay silent in an answer"}
    )

    address_limit: str = attrs.field(
        default="1200/60", validator=_limit, metadata={"help": "requests/seconds from one address (IPv6: one /64)"}
    )
    user_limit: str = attrs.field(
        default="600/60", validator=_limit, metadata={"help": "requests/seconds of one person"}
    )
    login_limit: str = attrs.field(
        default="30/60", validator=_limit, metadata={"help": "attempts/seconds to sign in or up from one address"}
    )
    reset_limit: str = attrs.field(
        default="10/600", validator=_limit, metadata={"help": "attempts/seconds to reset a password from one address"}
    )
    mfa_limit: str = attrs.field(
        default="20/60", validator=_limit, metadata={"help": "attempts/seconds at a second factor from one address"}
    )
    login_paths: tuple[str, ...] = attrs.field(
        default=("/api/v1/auth/login", "/api/v1/auth/register", "/api/v1/auth/passkeys", "/api/v1/auth/oidc"),
        validator=_paths,
        metadata={"help": "paths below which changes count as sign-ins"},
    )
    reset_paths: tuple[str, ...] = attrs.field(
        default=("/api/v1/auth/password", "/api/v1/auth/email"),
        validator=_paths,
        metadata={"help": "paths below which changes count as resets"},
    )
    mfa_paths: tuple[str, ...] = attrs.field(
        default=("/api/v1/auth/mfa",),
        validator=_paths,
        metadata={"help": "paths below which changes count as attempts at a second factor"},
    )

    cors_origins: tuple[str, ...] = attrs.field(
        default=(),
        validator=_origins,
        metadata={"help": "origins whose pages may use the API: https://app.example; * for any"},
    )
    cors_credentials: bool = attrs.field(
        default=False, metadata={"help": "whether pages of these origins may send cookies"}
    )
    cors_headers: tuple[str, ...] = attrs.field(
        default=(), validator=_names, metadata={"help": "more header fields that pages of these origins may send"}
    )
    cors_max_age: int = attrs.field(
        default=600, validator=_positive, metadata={"help": "seconds for which browsers keep a permission"}
    )

    websockets: int = attrs.field(
        default=1000, validator=_positive, metadata={"help": "WebSockets to one upstream or peer at the most"}
    )
    websocket_message: int = attrs.field(
        default=1_048_576, validator=_positive, metadata={"help": "largest message of an upstream's WebSocket in bytes"}
    )
    upstreams: Mapping[str, UpstreamSettings] = attrs.field(
        factory=dict, metadata={"help": "services that are none of ours, as tables [gateway.upstreams.NAME] or JSON"}
    )

    @upstreams.validator
    def _check_upstreams(self, field: attrs.Attribute[Any], given: Mapping[str, UpstreamSettings]) -> None:
        named = [f"{name!r} is no name: use lower case, digits, - and _" for name in given if not _NAME.fullmatch(name)]
        if found := [*named, *problems(given)]:
            raise ValueError(f"{field.name}: {'; '.join(found)}")

    cache_prefixes: tuple[str, ...] = attrs.field(
        default=("/api/v1/storage",),
        validator=_paths,
        metadata={"help": "paths below which answers are cached if they allow it; none: no response cache"},
    )
    cache_max_entry: int = attrs.field(
        default=1_048_576, validator=_positive, metadata={"help": "bytes of the largest body that is cached"}
    )
    cache_max_bytes: int = attrs.field(
        default=33_554_432, validator=_positive, metadata={"help": "bytes that one gateway keeps cached at the most"}
    )
    cache_wait: float = attrs.field(
        default=5.0,
        validator=_positive,
        metadata={"help": "seconds to wait for another request that fills the same miss"},
    )
    cache_stale_if_error: float = attrs.field(
        default=0.0,
        validator=_not_negative,
        metadata={"help": "seconds past its lifetime for which an answer stands in for a failing upstream"},
    )
    cache_private: bool = attrs.field(
        default=False, metadata={"help": "also cache private answers, for each signed-in person by himself"}
    )

    def __attrs_post_init__(self) -> None:
        if self.cors_credentials and ANY in self.cors_origins:
            raise ValueError("cors_credentials cannot go with cors_origins=*: name the origins")

    def production_problems(self) -> list[str]:
        """What of these settings forbids production, each with its fix."""
        if ANY in self.cors_origins:
            return ["ORION_GATEWAY_CORS_ORIGINS allows every origin: name those that are yours"]
        return []

    def outside(self) -> tuple[Outside, ...]:
        """The configured upstreams, as the topology shows them."""
        return tuple(Outside(name, each.prefix, each.urls, each.health) for name, each in self.upstreams.items())
