"""Validators for the fields of values: each says what is wrong and what to do, and describes itself as JSON Schema.

A validator checks and never converts: the HTTP edge runs validators but no converters, so a service normalises by
itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from orion_core.values import invalid

_EMAIL = re.compile(r"[^\s@\"(),:;<>\[\\\]\x00-\x1f\x7f]{1,64}@[^\s@\"(),:;<>\[\\\]\x00-\x1f\x7f]{1,255}")


@attrs.frozen
class _Length:
    least: int = 0
    most: int | None = None

    @property
    def schema(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {"minLength": self.least} if self.least else {}
        return found | ({} if self.most is None else {"maxLength": self.most})

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], given: str | None) -> None:
        if given is None:
            return
        if len(given) < self.least:
            wanted = "must not be empty" if self.least == 1 else f"must have at least {self.least} characters"
            raise invalid(attribute.name, "too_short", wanted)
        if self.most is not None and len(given) > self.most:
            raise invalid(attribute.name, "too_long", f"must have at most {self.most} characters")


def min_len(least: int) -> _Length:
    """Text or a tuple of at least `least` characters (code points) or items."""
    return _Length(least)


def max_len(most: int) -> _Length:
    """Text or a tuple of at most `most` characters (code points) or items."""
    return _Length(0, most)


def length(least: int, most: int) -> _Length:
    """Text or a tuple of `least` to `most` characters (code points) or items."""
    return _Length(least, most)


@attrs.frozen
class _Between:
    least: float
    most: float

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"minimum": self.least, "maximum": self.most}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], given: float | None) -> None:
        if given is not None and not self.least <= given <= self.most:
            raise invalid(attribute.name, "out_of_range", f"must be from {self.least} to {self.most}")


def between(least: float, most: float) -> _Between:
    """A number from `least` to `most`, both allowed."""
    return _Between(least, most)


@attrs.frozen
class _Email:
    @property
    def schema(self) -> Mapping[str, Any]:
        return {"format": "email", "maxLength": 254}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], given: str | None) -> None:
        if given is None:
            return
        if len(given) > 254 or not _EMAIL.fullmatch(given.strip()):
            raise invalid(attribute.name, "email", "must be an email address like ada@example.org")


is_email = _Email()
"""An email address: one ``@``, no blanks or control characters inside, at most 254 characters (RFC 5321, 4.5.3.1)."""


@attrs.frozen
class _Plain:
    @property
    def schema(self) -> Mapping[str, Any]:
        return {}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], given: str | None) -> None:
        if given is None:
            return
        for character in given:
            if character < " " or "\x7f" <= character <= "\x9f":
                raise invalid(attribute.name, "control_character", "must not contain control characters")
            if "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069":
                raise invalid(attribute.name, "bidi_override", "must not contain direction overrides")
            if "\ud800" <= character <= "\udfff":
                raise invalid(attribute.name, "surrogate", "must be valid Unicode text")


is_plain = _Plain()
"""One line of text without control characters and bidirectional overrides, as in names."""


@attrs.frozen
class _Matches:
    pattern: str
    says: str

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"pattern": f"^{self.pattern}$"}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], given: str | None) -> None:
        if given is not None and not re.fullmatch(self.pattern, given):
            raise invalid(attribute.name, "pattern", self.says)


def matches(pattern: str, says: str) -> _Matches:
    """Text that matches the whole regular expression `pattern`; `says` completes “name: …” when it does not."""
    return _Matches(pattern, says)


@attrs.frozen
class _Each:
    pattern: _Matches
    most: int

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"maxItems": self.most}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], given: tuple[str, ...]) -> None:
        if len(given) > self.most:
            raise invalid(attribute.name, "too_long", f"must have at most {self.most} items")
        for index, item in enumerate(given):
            if not re.fullmatch(self.pattern.pattern, item):
                raise invalid(f"{attribute.name}.{index}", "pattern", self.pattern.says)


def each(pattern: _Matches, *, most: int) -> _Each:
    """A tuple of at most `most` texts, each of which `pattern` (made by `matches`) accepts."""
    return _Each(pattern, most)


def schema_of(field: attrs.Attribute[Any]) -> dict[str, Any]:
    """The JSON Schema keywords of all validators of `field`."""
    found: dict[str, Any] = {}
    stack = [field.validator]
    while stack:
        validator = stack.pop()
        nested = getattr(validator, "_validators", None) or getattr(validator, "validator", None)
        if isinstance(nested, tuple):
            stack.extend(nested)
        elif nested is not None:
            stack.append(nested)
        found |= getattr(validator, "schema", {})
    return found
