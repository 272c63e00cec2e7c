"""Settings of webhooks: ``ORION_WEBHOOKS_*``."""

from __future__ import annotations

from typing import Any

import attrs

from orion_plugins.webhooks.addresses import Network, networks

TABLE = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""The schedule of Standard Webhooks 1.0.0 after the first attempt, which is made at once."""


def _are_networks(_: Any, field: attrs.Attribute[Any], given: tuple[str, ...]) -> None:
    try:
        networks(given)
    except ValueError as error:
        raise ValueError(f"{field.name} must be networks like 10.1.0.0/16: {error}") from error


def _are_ports(_: Any, field: attrs.Attribute[Any], given: tuple[int, ...]) -> None:
    if not given or not all(1 <= port <= 65535 for port in given):
        raise ValueError(f"{field.name} must be ports from 1 to 65535")


def _are_delays(_: Any, field: attrs.Attribute[Any], given: tuple[float, ...]) -> None:
    if len(given) > 50 or not all(0 <= delay <= 7 * 86_400 for delay in given):
        raise ValueError(f"{field.name} must be at most 50 delays of 0 to 604800 seconds")


def _is_positive(_: Any, field: attrs.Attribute[Any], given: float) -> None:
    if given <= 0:
        raise ValueError(f"{field.name} must be more than 0")


def _is_short(_: Any, field: attrs.Attribute[Any], given: float) -> None:
    if not 0 < given <= 30:
        raise ValueError(f"{field.name} must be more than 0 and at most 30 seconds")


@attrs.frozen(kw_only=True)
class WebhooksSettings:
    """Who may be called, how long an attempt takes, when it is repeated."""

    allowed_networks: tuple[str, ...] = attrs.field(
        default=(),
        validator=_are_networks,
        metadata={"help": "private networks (CIDR) that may be called too, there also by http and on any port"},
    )
    allowed_ports: tuple[int, ...] = attrs.field(
        default=(443, 8443), validator=_are_ports, metadata={"help": "ports that may be called everywhere"}
    )
    retry_delays: tuple[float, ...] = attrs.field(
        default=TABLE, validator=_are_delays, metadata={"help": "seconds before each repeat of a failed attempt"}
    )
    attempt_timeout: float = attrs.field(
        default=20.0, validator=_is_short, metadata={"help": "seconds that one attempt may take, all in all"}
    )
    connect_timeout: float = attrs.field(
        default=5.0, validator=_is_short, metadata={"help": "seconds to find and reach the receiver"}
    )
    retention_days: int = attrs.field(
        default=30, validator=_is_positive, metadata={"help": "days after which deliveries and attempts are removed"}
    )

    @property
    def allowed(self) -> tuple[Network, ...]:
        """`allowed_networks`, parsed."""
        return networks(self.allowed_networks)
