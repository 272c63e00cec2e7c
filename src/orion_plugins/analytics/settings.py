"""The settings of analytics, as ``ORION_ANALYTICS_*``."""

from __future__ import annotations

from typing import Any

import attrs


def _positive(_: Any, field: attrs.Attribute[int], given: int) -> None:
    if given < 1:
        raise ValueError(f"{field.name} must be at least 1, not {given}")


def _longer_than_raw(settings: Any, field: attrs.Attribute[int], given: int) -> None:
    if given < settings.raw_days:
        raise ValueError(f"{field.name} must be at least raw_days ({settings.raw_days}), not {given}")


@attrs.frozen(kw_only=True)
class AnalyticsSettings:
    """Who may track, how long it is kept, and how much may wait."""

    public: bool = attrs.field(
        default=False, metadata={"help": "whether everybody may track events, not only those who are signed in"}
    )
    honour_opt_out: bool = attrs.field(
        default=True, metadata={"help": "whether requests with DNT: 1 or Sec-GPC: 1 leave no events"}
    )
    raw_days: int = attrs.field(
        default=400, validator=_positive, metadata={"help": "days after their receipt for which raw events are kept"}
    )
    rollup_days: int = attrs.field(
        default=1825, validator=_longer_than_raw, metadata={"help": "days for which counts per hour are kept"}
    )
    queue: int = attrs.field(
        default=32, validator=_positive, metadata={"help": "batches that may be written or wait; beyond that 429"}
    )
