"""Facts about processes: when one began, and whether it still lives."""

from __future__ import annotations

import os
import time
from pathlib import Path

_IMPORTED = time.time()


def began(pid: int) -> float:
    """When the process `pid` began, as Unix time; a guess for this process, and 0 for others, without ``/proc``."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks, 2)
    except (OSError, AttributeError, ValueError, IndexError):
        return _IMPORTED if pid == os.getpid() else 0.0


def lives(pid: int, since: float) -> bool:
    """Whether the process `pid` that began at `since` still runs; another one may have got its number meanwhile."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    now = began(pid)
    return not now or not since or abs(now - since) < 2
