"""What all stores of blobs have in common."""

from __future__ import annotations

import re

_KEY = re.compile(r"(?!\.)[A-Za-z0-9_.-]+(?:/(?!\.)[A-Za-z0-9_.-]+)*")


def check_key(key: str) -> str:
    """`key`, if it is one: segments of letters, digits, ``_``, ``-`` and ``.`` that do not begin with a dot.

    Raises ValueError, as a service makes its keys by itself.
    """
    if len(key) > 512 or not _KEY.fullmatch(key):
        raise ValueError(f"no key of a blob: {key!r}")
    return key
