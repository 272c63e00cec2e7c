"""The result of looking at one dependency, as health reports it."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.frozen
class Check:
    """`status` is ``pass``, ``warn`` or ``fail``; `detail` says why in words fit for operators."""

    status: Literal["pass", "warn", "fail"]
    detail: str = ""
