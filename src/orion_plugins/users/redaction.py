"""What may be kept of the details of an activity, as pure functions (U29)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MOST = 8 * 1024
"""The largest metadata of one activity, in bytes."""
HIDDEN = "[hidden]"
"""What stands in the place of a secret."""

_SECRET = re.compile(r"passw|token|secret|cookie|authorization|api_?key|private_?key|credential", re.IGNORECASE)


def metadata(given: Mapping[str, Any]) -> str:
    """`given` as JSON text without values that are secret by their name; more than `MOST` bytes are left out."""
    text = json.dumps(_clean(given), ensure_ascii=True, separators=(",", ":"), default=str)
    return text if len(text) <= MOST else f'{{"left_out_bytes":{len(text)}}}'


def _clean(given: Any) -> Any:
    if isinstance(given, Mapping):
        return {name: HIDDEN if _SECRET.search(str(name)) else _clean(item) for name, item in given.items()}
    if isinstance(given, list | tuple):
        return [_clean(item) for item in given]
    return given
