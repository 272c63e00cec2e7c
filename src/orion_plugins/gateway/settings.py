"""What can be set of the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from orion_core.outside import Outside
from orion_plugins.gateway.upstream_settings import UpstreamSettings, problems

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


def _positive(_: Any, field: attrs.Attribute[Any], given: float) -> None:
    if not 0 < given < float("inf"):
        raise ValueError(f"{field.name} must be more than 0, not {given}")


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

    def outside(self) -> tuple[Outside, ...]:
        """The configured upstreams, as the topology shows them."""
        return tuple(Outside(name, each.prefix, each.urls, each.health) for name, each in self.upstreams.items())
