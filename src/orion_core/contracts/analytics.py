"""Numbers about what happens on the platform."""

from __future__ import annotations

import abc
from datetime import date

from orion_core.contract import Contract, raises, repeatable
from orion_core.errors import NotFound
from orion_core.values import value


@value
class DayCount:
    """How often it happened on one day (UTC)."""

    day: date
    count: int


@value
class MetricReport:
    """Counts of one metric per day, oldest first, days without any left out."""

    name: str
    total: int
    days: tuple[DayCount, ...]


class NoSuchMetric(NotFound):
    """Nothing of this name is counted."""

    code = "analytics.no_such_metric"


class Analytics(Contract, name="analytics"):
    """Numbers about what happens on the platform."""

    @raises(NoSuchMetric)
    @repeatable
    @abc.abstractmethod
    async def metric(self, name: str) -> MetricReport:
        """The counts of the metric `name`, such as ``user.registered``; needs `analytics:read`."""
