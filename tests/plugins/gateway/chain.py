"""The whole chain of one upstream, as the dispatcher builds it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.upstream_settings import UpstreamSettings
from orion_plugins.gateway.upstreams import Upstream


@contextlib.asynccontextmanager
async def chained(
    *urls: str,
    now: Callable[[], float] = time.monotonic,
    gateway: GatewaySettings | None = None,
    others: Mapping[str, Upstream] = {},
    **given: Any,
) -> AsyncIterator[Upstream]:
    """The upstream ``shop`` at `urls`, closed at the end."""
    spec = UpstreamSettings(**{"prefix": "/shop", "urls": urls, **given})
    chain = Upstream("shop", spec, gateway or GatewaySettings(), now, peer=False)
    chain.fall_back(others)
    try:
        yield chain
    finally:
        await chain.aclose()
