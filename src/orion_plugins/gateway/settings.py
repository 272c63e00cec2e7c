"""What can be set of the gateway."""

from __future__ import annotations

from typing import Any

import attrs


def _positive(_: Any, field: attrs.Attribute[Any], given: float) -> None:
    if not 0 < given < float("inf"):
        raise ValueError(f"{field.name} must be more than 0, not {given}")


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
