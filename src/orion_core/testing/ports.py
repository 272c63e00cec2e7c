"""Free ports on the loopback address."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Sequence

CHOICE = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections (from 32768 on Linux, 49152 elsewhere).

One of those may be taken by any connection between the choice and its use.
"""
_random = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """`count` different ports on which nobody listens now."""
    found: list[int] = []
    for port in _random.sample(CHOICE, len(CHOICE)):
        if len(found) == count:
            break
        if _free([port]):
            found.append(port)
    return found


def free_block() -> int:
    """The first of ten ports in a row on which nobody listens now, a multiple of ten."""
    starts = CHOICE[::10]
    return next(first for first in _random.sample(starts, len(starts)) if _free(range(first, first + 10)))


def _free(ports: Sequence[int]) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            for port in ports:
                stack.enter_context(contextlib.closing(socket.socket())).bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
