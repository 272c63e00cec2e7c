"""Conditional requests (RFC 9110, section 13). Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

from orion_core.contracts.storage import Condition
from orion_core.errors import Malformed

Outcome = Literal["go on", "not modified", "failed"]
_LIST = re.compile(r'[ \t]*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"[ \t]*(?:,[ \t]*)*)+')
_TAG = re.compile(r'(?P<weak>W/)?"(?P<tag>[\x21\x23-\x7e\x80-\xff]*)"')
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = r"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# All three are to be understood, and the first is to be sent (section 5.6.7).
_DATES = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"{_DAY} {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
    )
)
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


def http_date(time: datetime) -> str:
    """`time` as an HTTP date, without fractions of a second."""
    return format_datetime(time.astimezone(UTC).replace(microsecond=0), usegmt=True)


def parse_date(text: str) -> datetime | None:
    """The time of the HTTP date `text`, None for anything else: such a header is ignored."""
    match = next((found for pattern in _DATES if (found := pattern.fullmatch(text.strip()))), None)
    if match is None:
        return None
    year, day, hour, minute, second = map(int, match.group("year", "day", "hour", "minute", "second"))
    if len(match["year"]) == 2:
        year += 1900 if year >= 70 else 2000  # there was no HTTP before
    try:
        return datetime(year, _MONTHS.index(match["month"]) // 3 + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def evaluate(method: str, headers: Mapping[str, str], tag: str, modified: datetime) -> Outcome:
    """What the conditions in `headers` (names in lower case) mean for a read of the representation with the strong
    entity tag `tag`, in the order of section 13.2.2."""
    second = modified.replace(microsecond=0)
    if "if-match" in headers:
        if not _names(headers["if-match"], tag, strong=True):
            return "failed"
    elif (since := parse_date(headers.get("if-unmodified-since", ""))) is not None and second > since:
        return "failed"
    reads = method in ("GET", "HEAD")
    if "if-none-match" in headers:
        if _names(headers["if-none-match"], tag, strong=False):
            return "not modified" if reads else "failed"
    elif reads and (since := parse_date(headers.get("if-modified-since", ""))) is not None and second <= since:
        return "not modified"
    return "go on"


def range_applies(headers: Mapping[str, str], tag: str, modified: datetime) -> bool:
    """Whether the Range of a request counts: If-Range, if there, must name this very representation (section 13.1.5).

    A date is as good as a tag here: it is told only when no other version can have it any more.
    """
    given = headers.get("if-range")
    if given is None:
        return True
    match = _TAG.fullmatch(given.strip())
    if match is not None:
        return match["weak"] is None and match["tag"] == tag
    return parse_date(given) == modified.replace(microsecond=0)


def for_write(headers: Mapping[str, str]) -> Condition:
    """The conditions of a write; raises `Malformed` for those that cannot be read, as ignoring one could destroy."""
    since = headers.get("if-unmodified-since")
    when = None if since is None else parse_date(since)
    if since is not None and when is None:
        raise Malformed("If-Unmodified-Since: must be an HTTP date")
    return Condition(
        if_match=_tags(headers, "if-match", strong=True),
        if_none_match=_tags(headers, "if-none-match", strong=False),
        unmodified_since=when,
    )


def _tags(headers: Mapping[str, str], name: str, *, strong: bool) -> tuple[str, ...] | None:
    given = headers.get(name)
    if given is None:
        return None
    if given.strip() == "*":
        return ("*",)
    if not _LIST.fullmatch(given):
        raise Malformed(f"{name}: must be * or a list of entity tags in quotes")
    tags = (match["tag"] for match in _TAG.finditer(given) if not (strong and match["weak"]))
    # In quotes a star is the tag of a version, and no version of ours has it.
    return tuple(tag for tag in tags if tag != "*")


def _names(given: str, tag: str, *, strong: bool) -> bool:
    if given.strip() == "*":
        return True
    return any(match["tag"] == tag and not (strong and match["weak"]) for match in _TAG.finditer(given))
