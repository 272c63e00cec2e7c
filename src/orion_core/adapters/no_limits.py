"""No limits: for tests and measurements, and for deployments that something in front of ORION limits."""

from __future__ import annotations

from orion_core.ports.check import Check
from orion_core.ports.limits import Policy, Verdict


class NoLimits:
    """Stands in for the port `Limits` and allows everything; a production deployment refuses to start with it."""

    async def spend(self, policy: Policy, key: str) -> Verdict:
        """Allowed."""
        return Verdict(True, policy.quota, 0.0)

    async def check(self) -> Check:
        """Always ``pass``."""
        return Check("pass")

    async def aclose(self) -> None:
        """Nothing is open."""
