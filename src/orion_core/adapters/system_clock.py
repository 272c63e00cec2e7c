"""The machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_NONE = timedelta(0)


class SystemClock:
    """Tells the machine's time; keeps the port `Clock`.

    A machine's clock that is set back makes this one stand still until it has caught up: `now` never runs backwards.
    """

    def __init__(self) -> None:
        self._latest = datetime.now(UTC)

    @property
    def offset(self) -> timedelta:
        """Always zero."""
        return _NONE

    def now(self) -> datetime:
        """The time now, in UTC."""
        self._latest = max(self._latest, datetime.now(UTC))
        return self._latest
