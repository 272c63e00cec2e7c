"""What a plugin forwards to that is no service of the platform, for whoever shows or checks it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import attrs


@attrs.frozen
class Outside:
    """A server that is none of ours: the public path that leads to it, its URLs, and the path of its health, if any."""

    name: str
    prefix: str
    urls: tuple[str, ...]
    health: str = ""


@runtime_checkable
class LeadsOutside(Protocol):
    """Settings of a plugin that forwards requests to other servers."""

    def outside(self) -> tuple[Outside, ...]:
        """All of them."""
        ...
