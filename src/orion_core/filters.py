"""The language of filters and of sorting, as pure functions; who uses it turns the result into SQL with arguments.

::

    name sw "Ada" and not (created_at lt "2026-01-01T00:00:00Z" or active eq false)

Operators are ``eq ne co sw ew gt ge lt le`` with a value and ``pr`` (has a value) without one, put together by
``and``, ``or``, ``not`` and parentheses; ``not`` binds strongest, ``or`` weakest. Values are JSON: text in double
quotes, numbers, true and false; times and ids are text. The operators follow the type of the field: text knows all of
them, numbers and times those of equality and order, true and false and ids those of equality. Text compares without
letter case, and everything in it is literal. ``ne`` is the opposite of ``eq``, so it also finds what has no value.

Sorting is a list of fields, a minus before those that go down: ``-created_at,name``. Operators after RFC 7644, 3.4.2.2.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal, NoReturn
from uuid import UUID

import attrs

from orion_core.errors import FieldError, Malformed

MAX_TERMS = 50
MAX_DEPTH = 10
MAX_LENGTH = 8192
MAX_SORTS = 5
MAX_WHOLE = 2**53
"""Whole numbers up to here are the same for every reader of JSON (RFC 8259, section 6)."""

Operator = Literal["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr"]
_EQUALITY = ("eq", "ne", "pr")
_ORDER = (*_EQUALITY, "gt", "ge", "lt", "le")
OPERATORS: Mapping[type, tuple[str, ...]] = {
    str: (*_ORDER, "co", "sw", "ew"),
    int: _ORDER,
    float: _ORDER,
    datetime: _ORDER,
    date: _ORDER,
    bool: _EQUALITY,
    UUID: _EQUALITY,
}
_KNOWN = set(OPERATORS[str])
_NAMES = {
    str: "text in double quotes",
    int: "a whole number",
    float: "a number",
    datetime: "a time with a time zone in double quotes",
    date: "a date in double quotes",
    bool: "true or false",
    UUID: "a UUID in double quotes",
}
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|(?P<open>\()|(?P<close>\))|(?P<text>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<number>-?[0-9][0-9.eE+-]*)|(?P<word>[A-Za-z_][A-Za-z0-9_.]*)""",
    re.DOTALL,
)


@attrs.frozen
class Comparison:
    """One term. `value` is of the field's type, text folded by `fold`; None with the operator ``pr``."""

    field: str
    operator: Operator
    value: Any = None


@attrs.frozen
class Not:
    """What `operand` does not let through."""

    operand: Filter


@attrs.frozen
class Junction:
    """All (``and``) or at least one (``or``) of the `operands`."""

    kind: Literal["and", "or"]
    operands: tuple[Filter, ...]


Filter = Comparison | Not | Junction


@attrs.frozen
class Order:
    """One field to sort by."""

    field: str
    descending: bool


def fold(text: str) -> str:
    """`text` as it is compared: without letter case, canonically equivalent texts alike."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def parse(text: str, fields: Mapping[str, type], parameter: str = "filter") -> Filter | None:
    """The filter in `text` over `fields`, which are given with their types; None for an empty one.

    Raises `Malformed`, which names `parameter`, the field and the position, for everything that is not allowed.
    """
    if not text.strip():
        return None
    return _Parser(text, fields, parameter).whole()


def sorting(text: str, fields: Mapping[str, type], parameter: str = "sort") -> tuple[Order, ...]:
    """The order in `text`, of `fields` only; raises `Malformed` for anything else."""
    if not text.strip():
        return ()
    orders: list[Order] = []
    position = 1
    for part in text.split(","):
        name = part.strip()
        descending = name.startswith("-")
        name = name[descending:]
        if name not in fields:
            _refuse(parameter, position, f"{_shown(name)} is no field to sort by: use {_listed(fields)}")
        if any(order.field == name for order in orders):
            _refuse(parameter, position, f"{name} is named twice")
        orders.append(Order(name, descending))
        if len(orders) > MAX_SORTS:
            _refuse(parameter, position, f"at most {MAX_SORTS} fields may be named")
        position += len(part) + 1
    return tuple(orders)


class _Parser:
    """A recursive descent over the tokens of one text."""

    def __init__(self, text: str, fields: Mapping[str, type], parameter: str) -> None:
        self._fields = fields
        self._parameter = parameter
        self._terms = 0
        self._depth = 0
        self._next = 0
        if len(text) > MAX_LENGTH:
            self._fail(MAX_LENGTH + 1, f"must have at most {MAX_LENGTH} characters")
        self._tokens = self._split(text)

    def whole(self) -> Filter:
        found = self._either()
        kind, text, position = self._tokens[self._next]
        if kind != "end":
            self._fail(position, f"and, or or the end is expected, not {_shown(text)}")
        return found

    def _split(self, text: str) -> list[tuple[str, str, int]]:
        tokens = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                what = "a text without its closing quote" if text[at] == '"' else _shown(text[at])
                self._fail(at + 1, f"{what} does not belong here")
            if match.lastgroup != "blank":
                tokens.append((str(match.lastgroup), match.group(), at + 1))
            at = match.end()
        return [*tokens, ("end", "the end", len(text) + 1)]

    def _either(self) -> Filter:
        return self._joined("or", lambda: self._joined("and", self._negated))

    def _joined(self, word: Literal["and", "or"], part: Any) -> Filter:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def _negated(self) -> Filter:
        if self._took("not"):
            self._deeper()
            found: Filter = Not(self._negated())
        elif self._tokens[self._next][0] == "open":
            self._next += 1
            self._deeper()
            found = self._either()
            kind, text, position = self._tokens[self._next]
            if kind != "close":
                self._fail(position, f"a closing parenthesis is expected, not {_shown(text)}")
            self._next += 1
        else:
            return self._comparison()
        self._depth -= 1
        return found

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(self._tokens[self._next][2], f"at most {MAX_DEPTH} levels of parentheses and not are allowed")

    def _took(self, word: str) -> bool:
        kind, text, _ = self._tokens[self._next]
        taken = kind == "word" and text.lower() == word
        self._next += taken
        return taken

    def _comparison(self) -> Comparison:
        kind, name, position = self._take()
        if kind != "word" or name not in self._fields:
            self._fail(position, f"{_shown(name)} is no field to filter by: use {_listed(self._fields)}")
        self._terms += 1
        if self._terms > MAX_TERMS:
            self._fail(position, f"at most {MAX_TERMS} comparisons are allowed")
        _, operator, position = self._take()
        operator, allowed = operator.lower(), OPERATORS[self._fields[name]]
        if operator not in _KNOWN:
            self._fail(position, f"an operator is expected after {name}, not {_shown(operator)}")
        if operator not in allowed:
            self._fail(position, f"{name} does not know {operator}: use {', '.join(allowed)}")
        if operator == "pr":
            return Comparison(name, "pr")
        kind, given, position = self._take()
        return Comparison(name, operator, self._value(name, kind, given, position))  # type: ignore[arg-type]  # is in `allowed`

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        if token[0] != "end":
            self._next += 1
        return token

    def _value(self, name: str, kind: str, given: str, position: int) -> Any:
        wanted = self._fields[name]
        plain: Any = None
        if kind in ("text", "number") or (kind == "word" and given in ("true", "false")):
            try:
                plain = json.loads(given, strict=False)
            except ValueError:
                self._fail(position, f"{_shown(given)} is no JSON value")
        found = _typed(wanted, plain)
        if found is None:
            self._fail(position, f"{name} is compared with {_NAMES[wanted]}, not {_shown(given)}")
        return found

    def _fail(self, position: int, detail: str) -> NoReturn:
        _refuse(self._parameter, position, detail)


def _typed(wanted: type, plain: Any) -> Any:
    """`plain` as a value of the type `wanted`, None if it is none."""
    number = isinstance(plain, (int, float)) and not isinstance(plain, bool)
    if wanted is bool:
        return plain if isinstance(plain, bool) else None
    if wanted is int:
        return plain if number and isinstance(plain, int) and abs(plain) <= MAX_WHOLE else None
    if wanted is float:
        # First the size: a very large whole number has no float at all.
        return float(plain) if number and abs(plain) <= 1e300 and math.isfinite(plain) else None
    if not isinstance(plain, str) or "\x00" in plain or any("\ud800" <= sign <= "\udfff" for sign in plain):
        return None
    if wanted is str:
        return fold(plain)
    try:
        if wanted is UUID:
            return UUID(plain)
        if wanted is datetime:
            found = datetime.fromisoformat(plain)
            return None if found.tzinfo is None else found.astimezone(UTC)
        return date.fromisoformat(plain)
    except (ValueError, OverflowError):
        return None


def _refuse(parameter: str, position: int, detail: str) -> NoReturn:
    said = f"at character {position}: {detail}"
    raise Malformed(f"{parameter} {said}", errors=[FieldError(parameter, "malformed", said)])


def _shown(text: str) -> str:
    """`text` fit for a message."""
    cut = text if len(text) <= 40 else text[:40] + "…"
    return ascii(cut) if any(ord(sign) < 32 or "\ud800" <= sign <= "\udfff" for sign in cut) else cut or "nothing"


def _listed(fields: Mapping[str, type]) -> str:
    return ", ".join(sorted(fields)) or "none, as nothing is declared"
