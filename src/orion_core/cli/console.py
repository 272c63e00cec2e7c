"""What the command line prints, and how it says what is wrong."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orion_core.errors import Error, StartRefused

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@")


def say(line: str = "") -> None:
    """Print one line to people, never wrapped."""
    typer.echo(line)


def put(document: Any) -> None:
    """Print `document` as JSON, for programs."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a table."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*row)
    # A program or a file has no width: a table there is as wide as it needs to be.
    (out if out.is_terminal else Console(highlight=False, width=250)).print(made)


def fail(problems: Iterable[str]) -> None:
    """Print each problem on a line of its own to standard error."""
    for problem in problems:
        err.print(Text.assemble(("error: ", "bold red"), problem), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    err.print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)


def problems_of(error: BaseException) -> Sequence[str] | None:
    """What a person should read about `error`; None for a defect, which deserves its traceback."""
    if isinstance(error, StartRefused):
        return error.problems
    if isinstance(error, Error):
        # With one field at fault, the message is that line already.
        return list(dict.fromkeys([str(error), *(f"{item.field}: {item.detail}" for item in error.errors)]))
    return None


def without_password(url: str) -> str:
    """`url` fit to be shown."""
    return _PASSWORD.sub(r"\1:***@", url)


def progress(text: str) -> None:
    """Say what is going on, to people only."""
    if sys.stderr.isatty():
        err.print(Text(text, style="dim"), soft_wrap=True)
