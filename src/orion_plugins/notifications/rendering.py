"""Templates of messages, filled in. Pure, apart from reading the files that come with the package."""

from __future__ import annotations

import functools
import html
import string
from collections.abc import Mapping
from importlib.resources import files

import attrs


class TemplateError(ValueError):
    """A template that is not there, or that cannot be filled in; it names the template, the line and the reason."""


@attrs.frozen
class Rendered:
    """A message ready to be sent."""

    subject: str
    text: str
    html: str


@functools.cache
def _source(name: str) -> str:
    try:
        return files("orion_plugins.notifications.templates").joinpath(name).read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"the template {name} does not exist") from error


def exists(name: str, version: int) -> bool:
    """Whether there is a template `name` in that `version`."""
    try:
        _source(f"{name}.v{version}.txt")
    except TemplateError:
        return False
    return True


def render(name: str, version: int, variables: Mapping[str, str]) -> Rendered:
    """Fill the template `name` in that `version` with `variables`, escaped in the HTML part.

    Raises `TemplateError`: never half a message.
    """
    head, _, text = _source(f"{name}.v{version}.txt").partition("\n\n")
    escaped = {key: html.escape(text) for key, text in variables.items()}
    return Rendered(
        # A header is one line, whatever the variables hold.
        subject=" ".join(_fill(f"{name}.v{version}.txt", head.removeprefix("Subject:"), variables).split()),
        text=_fill(f"{name}.v{version}.txt", text, variables),
        html=_fill(f"{name}.v{version}.html", _source(f"{name}.v{version}.html"), escaped),
    )


def _fill(name: str, source: str, variables: Mapping[str, str]) -> str:
    try:
        return string.Template(source).substitute(variables)
    except KeyError as error:
        line = next(
            (number for number, text in enumerate(source.splitlines(), start=1) if f"${error.args[0]}" in text), 0
        )
        raise TemplateError(f"{name}, line {line}: the variable {error.args[0]} is not given") from error
    except ValueError as error:
        raise TemplateError(f"{name}: {error}") from error
