"""The values of settings: from text or TOML to the types that settings classes declare."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

from orion_core.secret import Secret


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"must be true or false, not {text!r}")


def _number(kind: Callable[[str], Any], words: str) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be {words}, not {text!r}") from None

    return convert


_SCALARS: dict[Any, Callable[[str], Any]] = {
    str: str,
    Path: Path,
    Secret: Secret,
    bool: _boolean,
    int: _number(int, "a whole number"),
    float: _number(float, "a number"),
    timedelta: _number(lambda text: _seconds(float(text)), "a number of seconds"),
}


def _seconds(number: float) -> timedelta:
    try:
        return timedelta(seconds=number)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def parse(raw: Any, hint: Any) -> Any:
    """`raw`, text from the environment or a value from TOML, as the type `hint`; raises ValueError in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return parse(raw, next(arg for arg in args if arg is not type(None)))
    if origin is tuple:
        items = [part.strip() for part in raw.split(",") if part.strip()] if isinstance(raw, str) else raw
        if not isinstance(items, list):
            raise ValueError("must be a list")
        return tuple(parse(item, args[0]) for item in items)
    if attrs.has(hint) and hint not in _SCALARS:
        return _built(raw, hint)
    if origin in (dict, Mapping):
        if isinstance(raw, str) and attrs.has(args[1]):
            raw = _from_json(raw)
        elif isinstance(raw, str):
            pairs = [part.strip().partition("=") for part in raw.split(",") if part.strip()]
            if any(not equals for _, equals, _ in pairs):
                raise ValueError("must be name=value,name=value")
            raw = {name.strip(): text.strip() for name, _, text in pairs}
        if not isinstance(raw, Mapping):
            raise ValueError("must be a table of names and values")
        return {name: _named(name, text, args[1]) for name, text in raw.items()}
    if hint in _SCALARS:
        return _SCALARS[hint](raw if isinstance(raw, str) else json.dumps(raw))
    raise ValueError(f"settings of the type {hint} are not supported")


def _named(name: str, raw: Any, hint: Any) -> Any:
    try:
        return _mapped(raw, hint)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("must be JSON, an object of objects") from None


def _built(raw: Any, kind: type[Any]) -> Any:
    """An instance of the attrs class `kind` from the table `raw`; a key that is no field of it is an error."""
    if not isinstance(raw, Mapping):
        raise ValueError("must be a table of names and values")  # noqa: TRY004 - of a setting, whatever is wrong with it
    hints = typing.get_type_hints(kind)
    fields = attrs.fields_dict(kind)
    if unknown := [name for name in raw if name not in fields]:
        near = difflib.get_close_matches(unknown[0], fields, n=1, cutoff=0.6)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
        raise ValueError(f"{unknown[0]} is no setting; {meant}")
    if missing := [name for name, field in fields.items() if field.default is attrs.NOTHING and name not in raw]:
        raise ValueError(f"{missing[0]} is missing")
    return kind(**{name: _named(name, inner, hints[name]) for name, inner in raw.items()})


def _mapped(raw: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple and isinstance(raw, str):
        return parse([part for part in raw.split("|") if part], hint)
    return parse(raw, hint)
