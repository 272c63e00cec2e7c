"""How many retries may run at once, so that retries never become the load that breaks an upstream."""

from __future__ import annotations


class RetryBudget:
    """At most the share `share` of the requests that are live, but `least` in any case (G51).

    Whoever sends requests keeps `live`. One that is retried holds its place from `take` to `give_back`.
    """

    def __init__(self, *, share: float = 0.2, least: int = 3) -> None:
        self.live = 0
        self.retrying = 0
        self._share = share
        self._least = least

    def take(self) -> bool:
        """Take a place for a request that is to be retried; False when there is none."""
        if self.retrying + 1 > max(self._least, self._share * self.live):
            return False
        self.retrying += 1
        return True

    def give_back(self) -> None:
        """The request that took a place has ended."""
        self.retrying -= 1
