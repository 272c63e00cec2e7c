"""When an attempt has to wait, as pure functions of what was counted before. Times are Unix milliseconds."""

from __future__ import annotations

import attrs

MINUTE = 60_000
HOUR = 60 * MINUTE
WINDOW = 15 * MINUTE
"""Failures within this time count together."""
TRIES_WINDOW = 5 * MINUTE
"""Tries of codes within this time count together."""
LONGEST_WAIT = 15 * MINUTE
FORGOTTEN_AFTER = 12 * HOUR


@attrs.frozen
class Count:
    """What a counter holds: when attempts were made, until when the next has to wait, and when all is forgotten."""

    times: tuple[int, ...] = ()
    blocked_until_ms: int = 0
    expires_ms: int = 0


def failure(limit: int, before: Count, now: int) -> Count | None:
    """The count after one more failure; None for an attempt that has to wait.

    After `limit` failures within 15 minutes each further one may be made 1, 2, 4 ... seconds after the one before, at
    most 15 minutes, until nothing has failed for 12 hours.
    """
    if before.blocked_until_ms > now:
        return None
    times = before.times if before.expires_ms > now else ()
    if len(times) < limit:
        times = tuple(each for each in times if each > now - WINDOW)
    # Of the steps beyond the limit only the number matters, and the last one is reached long before 32.
    times = (*times, now)[-limit - 32 :]
    beyond = len(times) - limit
    if beyond < 0:
        return Count(times, 0, now + WINDOW)
    return Count(times, now + min(1000 << beyond, LONGEST_WAIT), now + FORGOTTEN_AFTER)


def tries(limit: int, before: Count, now: int) -> Count | None:
    """The count after one more try of a code; None when there were `limit` within the last five minutes."""
    if before.blocked_until_ms > now:
        return None
    times = (*(each for each in before.times if each > now - TRIES_WINDOW), now)
    blocked = times[-limit] + TRIES_WINDOW if len(times) >= limit else 0
    return Count(times, blocked, now + TRIES_WINDOW)


def mail(per_minute: int, per_hour: int, before: Count, now: int) -> Count | None:
    """The count after one more mail; None when one more would be too many for the last minute or the last hour."""
    if before.blocked_until_ms > now:
        return None
    times = (*(each for each in before.times if each > now - HOUR), now)
    ends = [now]
    for most, span in ((per_minute, MINUTE), (per_hour, HOUR)):
        if len(times) >= most:
            ends.append(times[-most] + span)
    return Count(times, max(ends), now + HOUR)
