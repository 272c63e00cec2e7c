"""X-Request-Timeout: how much time a request has left, written as gRPC writes its timeouts (G52)."""

from __future__ import annotations

import math
import re
from typing import Final

_VALUE: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MOST: Final = 99_999_999


def request_timeout(seconds: float) -> str:
    """`seconds` as whole milliseconds, at least one: ``1500m``."""
    return f"{min(_MOST, max(1, math.floor(seconds * 1000)))}m"


def parse_request_timeout(text: str) -> float | None:
    """The seconds that `text` gives, at most eight digits and one of H, M, S, m, u and n; None for anything else."""
    found = _VALUE.fullmatch(text)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]
