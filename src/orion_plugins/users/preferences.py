"""What a preference may be, as pure functions (U12 to U14)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import attrs

from orion_core.contracts.users import Preference, PreferenceChange, PreferencesTooLarge, PreferenceType
from orion_core.errors import FieldError, Invalid
from orion_core.json_value import Json
from orion_core.plugin import PreferenceKind

MOST_VALUE = 8 * 1024
"""The largest value, in bytes of its JSON text."""
MOST_TOTAL = 64 * 1024
"""The most bytes of keys and values that one person may have."""
MOST_KEYS = 500
"""The most keys that one person may have."""
DEEPEST = 32
"""How deep lists and objects may be nested."""

_TYPES: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "string": ("text", (str,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "timestamp": ("a time with a time zone, as RFC 3339, no finer than microseconds", (str,)),
}


# What the library takes beyond RFC 3339 (weeks, no dashes) is ambiguous, and what is finer it would cut off unasked.
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6}0*)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


class _Bad(Exception):
    """Why a change is refused: a code and what to do."""


@attrs.frozen
class Wanted:
    """A change that is allowed: `text` is the JSON text to store, None to remove the key."""

    key: str
    type: PreferenceType
    text: str | None
    private: bool
    expected_version: int | None


@attrs.frozen
class Declared:
    """The preferences that plugins declare, by key. The first word of a key is its namespace."""

    kinds: Mapping[str, PreferenceKind]

    def check(self, changes: Iterable[PreferenceChange]) -> list[Wanted]:
        """What `changes` ask for; raises `Invalid` naming every bad key, and `PreferencesTooLarge`."""
        found: dict[str, Wanted] = {}
        problems: list[FieldError] = []
        for change in changes:
            try:
                if change.key in found:
                    raise _Bad("repeated", "is given twice")
                found[change.key] = self._wanted(change)
            except _Bad as bad:
                problems.append(FieldError(change.key, *bad.args))
        if problems:
            raise Invalid("; ".join(f"{each.field}: {each.detail}" for each in problems), errors=problems)
        return list(found.values())

    def default(self, key: str) -> Preference | None:
        """The declared default of `key`, or None for a key nobody declares."""
        kind = self.kinds.get(key)
        if kind is None:
            return None
        return Preference(key, Json.of(kind.default), cast(PreferenceType, kind.type), 0, True, None)

    def merged(self, stored: Iterable[Preference], keys: Iterable[str] = ()) -> tuple[Preference, ...]:
        """`stored` and the defaults of what is not among them, by key, or only `keys` of them."""
        found = {preference.key: preference for preference in stored}
        wanted = set(keys) or {*found, *self.kinds}
        every = (found.get(key) or self.default(key) for key in sorted(wanted))
        return tuple(preference for preference in every if preference is not None)

    def is_private(self, key: str) -> bool:
        """Whether the value of `key` never leaves in events."""
        kind = self.kinds.get(key)
        return kind is not None and kind.private

    def _wanted(self, change: PreferenceChange) -> Wanted:
        kind = self.kinds.get(change.key)
        if kind is None and _namespace(change.key) in {_namespace(key) for key in self.kinds}:
            known = ", ".join(sorted(key for key in self.kinds if _namespace(key) == _namespace(change.key)))
            raise _Bad("unknown", f"is no preference of {_namespace(change.key)}; known are {known}")
        if change.remove:
            of = kind.type if kind else change.type or "json"
            return self._made(change, of, None)
        try:
            plain = change.value.plain()
        except (ValueError, RecursionError):
            raise _Bad("json", "must be JSON") from None
        if _deeper(plain, DEEPEST):
            raise _Bad("too_deep", f"must not be nested deeper than {DEEPEST} levels")
        wanted = kind.type if kind else change.type or _type_of(plain)
        if change.type not in (None, wanted):
            raise _Bad("type", f"is of the type {wanted}, not {change.type}")
        text = _text(_fitting(plain, wanted))
        if kind is not None and kind.allowed and text not in [Json.of(each).text for each in kind.allowed]:
            raise _Bad("not_allowed", f"must be one of {', '.join(Json.of(each).text for each in kind.allowed)}")
        if len(text.encode()) > MOST_VALUE:
            raise PreferencesTooLarge(f"{change.key}: must take at most {MOST_VALUE} bytes as JSON")
        return self._made(change, wanted, text)

    def _made(self, change: PreferenceChange, of: str, text: str | None) -> Wanted:
        private = self.is_private(change.key)
        return Wanted(change.key, cast(PreferenceType, of), text, private, change.expected_version)


def check_size(texts: Mapping[str, str]) -> None:
    """Raise `PreferencesTooLarge` if one person may not have all of `texts`, the JSON texts by key."""
    if len(texts) > MOST_KEYS:
        raise PreferencesTooLarge(f"one person may have at most {MOST_KEYS} preferences: remove some first")
    size = sum(len(key) + len(text.encode()) for key, text in texts.items())
    if size > MOST_TOTAL:
        raise PreferencesTooLarge(f"one person's preferences may take at most {MOST_TOTAL} bytes: remove some first")


def _namespace(key: str) -> str:
    return key.partition(".")[0]


def _type_of(plain: Any) -> str:
    """The type that a JSON value has where nobody says: an object, a list and null are json."""
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number"}
    return kinds.get(type(plain), "json")


def _fitting(given: Any, wanted: str) -> Any:
    """`given` as it is stored; raises `_Bad` if it is no `wanted`."""
    if wanted == "json":
        return given
    words, kinds = _TYPES[wanted]
    if not isinstance(given, kinds) or (isinstance(given, bool) and wanted != "boolean"):
        raise _Bad("type", f"must be {words}")
    return _instant(str(given)) if wanted == "timestamp" else given


def _instant(text: str) -> str:
    """The time in `text` in UTC: the same instant, in one spelling."""
    try:
        if not _RFC_3339.fullmatch(text):
            raise ValueError(text)
        return datetime.fromisoformat(text.upper()).astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise _Bad("type", f"must be {_TYPES['timestamp'][0]}") from None


def _text(plain: Any) -> str:
    try:
        text = Json.of(plain).text
        text.encode()
    except UnicodeEncodeError:
        raise _Bad("surrogate", "must be valid Unicode text") from None
    except ValueError:
        raise _Bad("json", "must be JSON: no NaN and no infinity") from None
    return text


def _deeper(plain: Any, limit: int) -> bool:
    level = [plain]
    for _ in range(limit + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
