"""A secret that does not show itself in logs, tracebacks and settings listings."""

from __future__ import annotations

import re

import attrs

_PASSWORD = re.compile(r"(://[^:/?#@\s]*):[^@\s]*@")


@attrs.frozen(repr=False)
class Secret:
    """A piece of text that prints as ``***``; `reveal` gives it away."""

    _text: str = ""

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "***" if self._text else "(empty)"

    __str__ = __repr__


def without_password(url: str) -> str:
    """`url` fit to be shown."""
    return _PASSWORD.sub(r"\1:***@", url)
