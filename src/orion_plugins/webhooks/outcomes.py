"""What an attempt came to and what follows from it, as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import attrs

LONGEST = 86_400.0
"""A receiver may ask for so many seconds of patience at most."""
JITTER = 0.2
_SLOW_DOWN = (429, 502, 503, 504)


@attrs.frozen
class Outcome:
    """What one attempt came to. `status` is None without an answer; `refused` is a target that may not be called."""

    status: int | None = None
    latency_ms: int | None = None
    address: str = ""
    excerpt: str = ""
    error: str = ""
    refused: bool = False
    retry_after: str = ""
    abort: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the receiver answered 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def kind(self) -> str:
        """Its word in the log."""
        return "succeeded" if self.succeeded else "refused" if self.refused else "failed"

    @property
    def detail(self) -> str:
        """Why it is no success."""
        return self.error or ("" if self.succeeded else f"the receiver answered {self.status}")


@attrs.frozen
class Verdict:
    """What becomes of a delivery: its status, and the seconds until the next attempt where it stays pending."""

    status: Literal["succeeded", "pending", "dead", "aborted"]
    after: float | None = None
    disable: bool = False


def judge(
    outcome: Outcome,
    step: int,
    delays: Sequence[float],
    now: datetime,
    uniform: Callable[[float, float], float],
) -> Verdict:
    """What follows from `outcome` for a delivery that has used `step` of `delays`; `uniform` draws the jitter."""
    if outcome.succeeded:
        return Verdict("succeeded")
    if outcome.refused:
        return Verdict("dead")
    if outcome.status == 410:
        return Verdict("aborted", disable=True)
    if outcome.abort:
        return Verdict("aborted")
    if step >= len(delays):
        return Verdict("dead")
    after = delays[step] * uniform(1 - JITTER, 1 + JITTER)
    if outcome.status in _SLOW_DOWN:
        after = max(after, wanted_pause(outcome.retry_after, now))
    return Verdict("pending", after=after)


def wanted_pause(retry_after: str, now: datetime) -> float:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3), 0 to `LONGEST`; 0 for what is none."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST) if len(text) < 10 else LONGEST
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST)
