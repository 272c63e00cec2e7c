"""What can be set of the gateway."""

from __future__ import annotations

from typing import Any

import attrs


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
