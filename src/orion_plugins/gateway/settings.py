"""What can be set of the gateway."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """Settings of the gateway: ``ORION_GATEWAY_*``, or ``[gateway]`` in orion.toml."""

    connections: int = attrs.field(default=100, metadata={"help": "connections to one URL of a peer at the most"})
    connect_timeout: float = attrs.field(default=2.0, metadata={"help": "seconds to reach a peer"})
    idle_timeout: float = attrs.field(default=60.0, metadata={"help": "seconds a peer may stay silent in an answer"})
