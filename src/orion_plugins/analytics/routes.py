"""`/api/v1/analytics`: numbers for those who may see them."""

from __future__ import annotations

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from orion_core.contracts.analytics import Analytics, MetricReport
from orion_core.web import needs


class AnalyticsRoutes(Controller):
    """Numbers."""

    path = "/api/v1/analytics"
    tags = ("analytics",)

    @get(
        "/metrics/{name:str}",
        opt=needs("analytics:read"),
        operation_id="analytics_metric",
        summary="Read one metric",
    )
    async def metric(self, analytics: NamedDependency[Analytics], name: FromPath[str]) -> MetricReport:
        """Counts per day (UTC), oldest first, such as of ``user.registered``; days without any are left out."""
        return await analytics.metric(name)
