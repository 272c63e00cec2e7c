"""Text of generated pages: Markdown from docstrings, types, tables and links."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from orion_core.contract import Operation, modules_of
from orion_core.errors import Error


def declared(contract: type) -> list[type]:
    """The classes of a contract's modules, in the order in which they stand there."""
    return [
        item
        for module in modules_of(contract)
        for item in vars(sys.modules[module]).values()
        if isinstance(item, type) and item.__module__ == module
    ]


def show(hint: Any) -> str:
    """A type as one writes it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(show, args))
    if origin is not None:
        inner = ", ".join("..." if arg is Ellipsis else show(arg) for arg in args)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    if hint in (None, type(None)):
        return "None"
    return getattr(hint, "__name__", str(hint))


def seconds(every: Any) -> str:
    """A duration in words."""
    total = int(every.total_seconds())
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if total % size == 0:
            count = total // size
            return f"{word}" if count == 1 else f"{count} {word}s"
    return f"{total} seconds"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


def markdown(docstring: str | None) -> str:
    """A docstring as Markdown: ``x`` becomes `x`, an indented block after `::` becomes code."""
    text = inspect.cleandoc(docstring or "")
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    parts = re.split(r"(?m)^(.*)::\n\n((?:[ ]{4}.*\n?|\n)+)", text)
    made = [parts[0]]
    for before, code, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        made += [
            f"{before}:" if before.strip() else "",
            f"\n\n```python\n{textwrap.dedent(code).strip()}\n```\n\n",
            after,
        ]
    return "".join(made).strip()


def first(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(markdown(docstring).partition("\n\n")[0].split())


def sentence(text: str) -> str:
    """`text` with a capital and a full stop."""
    if not text:
        return ""
    # "embedded: or ..." begins with something to be typed.
    typed = text.split()[0].endswith(":")
    return f"{text if typed else text[0].upper() + text[1:]}".rstrip(".") + "."


def slug(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def error_link(error: type[Error], up: str = "") -> str:
    """A link to an error code."""
    return f"[`{error.code}`]({up}errors.md#{slug(error.code)})"


def event_link(name: str, up: str = "") -> str:
    """A link to an event."""
    return f"[`{name}`]({up}events.md#{slug(name)})"


def operation_target(service: str, operation: Operation) -> str:
    """Where an operation is described."""
    return f"services/{service}.md#{slug(f'{service}.{operation.name}')}"


def tidy(text: str) -> str:
    """One empty line between blocks, one line break at the end."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
