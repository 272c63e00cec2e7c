"""`Json`: any JSON value as part of a contract, unchangeable because it is kept as text."""

from __future__ import annotations

import json
from typing import Any, final


@final
class Json:
    """A JSON value. `text` is its compact form with keys in the order given; equal texts are equal values.

    ``Json.of({"a": 1})`` makes one; `plain` gives dicts and lists back, fresh each time. On the wire it is the value
    itself, not a text.
    """

    # No attrs class: the HTTP edge would take one for an object with a field.
    __slots__ = ("text",)

    text: str

    def __init__(self, text: str = "null") -> None:
        object.__setattr__(self, "text", text)

    @classmethod
    def of(cls, plain: Any) -> Json:
        """The JSON value of `plain`; raises ValueError for what JSON has no form for, NaN included."""
        try:
            return cls(json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"must be JSON: {error}") from error

    def plain(self) -> Any:
        """The value as dicts, lists, text, numbers, booleans and None."""
        return json.loads(self.text)

    def __len__(self) -> int:
        """Its size in bytes of UTF-8."""
        return len(self.text.encode("utf-8", "surrogatepass"))

    def __bool__(self) -> bool:
        return True

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Json value never changes: make another one with Json.of")

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Json) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Json({self.text!r})"


def enc_hook(given: Any) -> Any:
    """For msgspec: how to encode what it does not know. For a type that nobody knows it wants NotImplementedError."""
    if isinstance(given, Json):
        return given.plain()
    raise NotImplementedError(f"{type(given).__name__} cannot be encoded")


def dec_hook(kind: type, plain: Any) -> Any:
    """For msgspec: how to decode what it does not know, as `enc_hook` encodes it."""
    if kind is Json:
        return Json.of(plain)
    raise NotImplementedError(f"{kind.__name__} cannot be decoded")
