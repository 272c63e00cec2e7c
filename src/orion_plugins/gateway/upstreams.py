"""The chain of one upstream: from the dispatcher to the wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, cast

from orion_core.ports.check import Check
from orion_core.web import access_log
from orion_core.web.access import COOKIES
from orion_plugins.gateway.breaker import Breaker
from orion_plugins.gateway.circuit import Circuit
from orion_plugins.gateway.client import Transport
from orion_plugins.gateway.fallback import Fallback
from orion_plugins.gateway.header_rules import HeaderRules
from orion_plugins.gateway.headers import CREDENTIALS
from orion_plugins.gateway.health_checks import HealthChecks
from orion_plugins.gateway.pool import Pool
from orion_plugins.gateway.proxy import Proxy
from orion_plugins.gateway.replicas import Balance, Replicas
from orion_plugins.gateway.retry import Retry
from orion_plugins.gateway.settings import GatewaySettings
from orion_plugins.gateway.upstream_settings import FallbackSettings, UpstreamSettings

_PEER_HEALTH = "/health/ready"
_TOKEN = (b"authorization",)
_WITH_COOKIE = (b"authorization", b"cookie")


class Upstream:
    """An ASGI application that answers by asking one peer or configured upstream.

    ::

        proxy → fallback → headers → breaker → retry → replicas → a pool of connections for each URL

    `circuit` is its breaker, to be looked at. Health checks begin with the first request: before that nobody needs
    them, and there may be no loop yet.
    """

    def __init__(
        self, name: str, spec: UpstreamSettings, settings: GatewaySettings, time: Callable[[], float], *, peer: bool
    ) -> None:
        # Late: a host without peers and upstreams needs no library for WebSockets.
        from orion_plugins.gateway.websocket_relay import WebSocketRelay

        self.name = name
        self.circuit = Circuit(name, time)
        self._spec = spec
        self._peer = peer
        self._pools = [
            Pool(
                url,
                limit=settings.connections,
                connect_timeout=settings.connect_timeout,
                idle_timeout=spec.idle_timeout,
            )
            for url in spec.urls
        ]
        self.replicas = Replicas(self._pools, balance=cast("Balance", spec.balance))
        several = len(self._pools) > 1
        self._checks = (
            HealthChecks(name, self.replicas, self._pools, spec.health, spec.health_interval)
            if spec.health and several  # one alone gets all requests, well or not: the breaker looks after it
            else None
        )
        self._checking = False
        last: Transport = self.replicas if several else self._pools[0]
        self.transport: Transport = Breaker(Retry(last, self.circuit), self.circuit)
        rules: HeaderRules | None = None
        if not peer:
            self.transport = rules = HeaderRules(
                self.transport,
                add=spec.add_headers,
                drop=spec.hidden,
                add_to_answers=spec.add_response_headers,
                drop_from_answers=spec.drop_response_headers,
            )
        self._websockets = WebSocketRelay(
            name,
            [pool.address for pool in self._pools],
            self.replicas,
            self.circuit,
            limit=settings.websockets,
            max_message=settings.websocket_message,
            connect_timeout=settings.connect_timeout,
            timeout=spec.timeout,
            rules=rules,
        )
        self._proxy = self._make_proxy(None)

    @classmethod
    def of_peer(cls, name: str, urls: tuple[str, ...], settings: GatewaySettings, time: Callable[[], float]) -> Self:
        """The upstream of a service of the platform that is served elsewhere."""
        spec = UpstreamSettings(prefix=f"/{name}", urls=urls, health=_PEER_HEALTH, idle_timeout=settings.idle_timeout)
        return cls(name, spec, settings, time, peer=True)

    @property
    def prefix(self) -> str:
        """The public path that leads here, for a configured one."""
        return self._spec.prefix

    def fall_back(self, others: Mapping[str, Upstream]) -> None:
        """Take the fallbacks that are set, with those of `others` that they name."""
        if (given := self._spec.fallback) is not None:
            self._proxy = self._make_proxy(_fallback(given, others))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI connection of type http or websocket."""
        if self._checks is not None and not self._checking:
            self._checking = True
            self._checks.start()
        scope[access_log.UPSTREAM] = self.name
        # A peer verifies the user's own token (G12); cookies are for the routes that declare that they read them. What
        # a configured upstream may see of both is a rule of its own.
        scope[CREDENTIALS] = _TOKEN if self._peer and COOKIES not in scope else _WITH_COOKIE
        await self._proxy(scope, receive, send)

    async def check(self) -> Check:
        """How it is: pass while its breaker is closed and all replicas are well, warn otherwise, never fail."""
        unwell = self.replicas.healthy.count(False)
        if self.circuit.state == "closed" and not unwell:
            return Check("pass")
        words = [f"the breaker is {self.circuit.state}"] if self.circuit.state != "closed" else []
        if unwell:
            words.append(f"{unwell} of {len(self._pools)} replicas are unwell")
        return Check("warn", " and ".join(words))

    async def aclose(self) -> None:
        """End the health checks and close every connection."""
        if self._checks is not None and self._checking:
            await self._checks.stop()
        await self._websockets.aclose()
        for pool in self._pools:
            await pool.aclose()

    def _make_proxy(self, fallback: Fallback | None) -> Callable[[Any, Any, Any], Awaitable[None]]:
        spec = self._spec
        return Proxy(
            self.transport,
            service=self.name,
            circuit=self.circuit,
            fallback=fallback,
            strip=spec.prefix if spec.strip_prefix else "",
            timeout=spec.timeout,
            websockets=self._websockets,
        )


def _fallback(given: FallbackSettings, others: Mapping[str, Upstream]) -> Fallback:
    return Fallback(
        stale=given.stale,
        other=(given.upstream, others[given.upstream].transport) if given.upstream else None,
        fixed=(given.status, given.content_type.encode("ascii"), given.body.encode()) if given.body else None,
    )
