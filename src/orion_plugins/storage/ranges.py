"""Byte ranges (RFC 9110, section 14). Pure functions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import attrs

MOST = 16
"""Ranges of one request that are answered as such; more are answered with the whole."""
_RANGES = re.compile(r"bytes=(?P<specs>[0-9 \t,-]+)", re.IGNORECASE)
_SPEC = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")


@attrs.frozen
class Range:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """The Content-Range of this part of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse(header: str, size: int) -> tuple[Range, ...] | None:
    """The ranges that `header` asks for of `size` bytes, in its order.

    None: it is to be ignored, being malformed, of another unit, of too many or of overlapping ranges. Empty: none of
    its ranges can be satisfied (416).
    """
    match = _RANGES.fullmatch(header.strip())
    if match is None:
        return None
    specs = [spec for text in match["specs"].split(",") if (spec := text.strip(" \t"))]
    if not specs or len(specs) > MOST:
        return None
    found = []
    for text in specs:
        spec = _SPEC.fullmatch(text)
        if spec is None:
            return None
        if spec["suffix"] is not None:
            start, stop = max(0, size - _number(spec["suffix"])), size
        else:
            start = _number(spec["first"])
            last = _number(spec["last"]) if spec["last"] else size
            if last < start and spec["last"]:
                return None
            stop = min(last + 1, size)
        if start < stop:
            found.append(Range(start, stop))
    return None if _overlap(found) else tuple(found)


def _number(digits: str) -> int:
    # More digits than any size has stand for "behind the end"; turning thousands of them into a number takes long.
    return int(digits) if len(digits.lstrip("0")) <= 19 else 10**19


def _overlap(ranges: Sequence[Range]) -> bool:
    ordered = sorted(ranges, key=lambda each: each.start)
    return any(second.start < first.stop for first, second in itertools.pairwise(ordered))
