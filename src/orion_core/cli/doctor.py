"""``orion doctor``: what is set, from where, and what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import typing
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from rich.text import Text

from orion_core.cli.console import out, put, say, table, without_password

if TYPE_CHECKING:
    from orion_core.cli.checks import Finding
    from orion_core.plugin import Discovery
    from orion_core.settings import Settings

_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "wrong": ("✗", "red")}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        epilog="Examples:\n\n"
        "orion doctor  looks at everything\n\n"
        "orion doctor --settings  explains every setting there is"
    )(doctor)


def doctor(
    settings: Annotated[bool, typer.Option("--settings", help="List every known setting instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the settings and where they come from, and look at everything that a host needs. Exit code 1: something is
    wrong."""
    from orion_core.cli.configured import configured, discovered

    if settings:
        _print_known(known(discovered()), as_json)
        return
    from orion_core.cli.checks import examine

    found = configured()
    shown = in_use(found.settings, found.discovery)
    findings = asyncio.run(examine(found))
    if as_json:
        put({"settings": shown, "checks": [attrs.asdict(each) for each in findings]})
    else:
        rows = [(each["name"], each["value"], Text(each["source"], style="dim")) for each in shown]
        table("Settings", ("name", "value", "from"), rows)
        say()
        for each in findings:
            _print_finding(each)
    if any(each.state == "wrong" for each in findings):
        raise typer.Exit(1)


def in_use(settings: Settings, discovery: Discovery) -> list[dict[str, str]]:
    """Every setting with its value, secrets hidden, and its source."""
    shown = []
    for each in known(discovery):
        name = each["name"].removeprefix("ORION_").lower()
        service, field = each["service"], each["field"]
        if service and field == "database_url":
            given = settings.databases.get(service)
            if given is None:
                continue
        elif service:
            kind = discovery.plugins[service].settings
            assert kind is not None
            given = getattr(settings.of(service, kind), field)
        else:
            given = getattr(settings, field)
        shown.append({"name": each["name"], "value": _text(given), "source": settings.sources.get(name, "default")})
    return shown


def known(discovery: Discovery) -> list[dict[str, str]]:
    """Every setting there is: those of the host, and those of all installed plugins."""
    from orion_core.composition import has_database
    from orion_core.settings import Settings

    found = [
        _described("", field, hint) for field, hint in _fields(Settings) if field.name not in ("databases", "plugins")
    ]
    for name, plugin in discovery.plugins.items():
        if has_database(plugin):
            variable = f"ORION_{name.upper()}_DATABASE_URL"
            help_text = f"database of {name}, instead of ORION_DATABASE_URL"
            own = {"name": variable, "type": "text", "default": "", "help": help_text, "service": name}
            found.append({**own, "field": "database_url"})
        if plugin.settings is not None:
            found += [_described(name, field, hint) for field, hint in _fields(plugin.settings)]
    return found


def _fields(kind: type) -> list[tuple[attrs.Attribute[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return [(field, hints[field.name]) for field in attrs.fields(kind) if not field.metadata.get("hidden")]


def _described(service: str, field: attrs.Attribute[Any], hint: Any) -> dict[str, str]:
    prefix = f"{service.upper()}_" if service else ""
    default: Any = field.default
    # A default that is made anew for each instance; attrs tells no type for it.
    if (make := getattr(default, "factory", None)) is not None:
        default = "" if default.takes_self else make()
    return {
        "name": f"ORION_{prefix}{field.name.upper()}",
        "type": _type_name(hint),
        "default": "" if default is attrs.NOTHING else _text(default),
        "help": str(field.metadata.get("help", "")),
        "service": service,
        "field": field.name,
    }


def _type_name(hint: Any) -> str:
    names = {
        str: "text",
        Path: "path",
        int: "whole number",
        float: "number",
        bool: "true or false",
        timedelta: "seconds",
    }
    if hint in names:
        return names[hint]
    origin = typing.get_origin(hint)
    if origin is tuple:
        return "list, comma separated"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return "name=value, comma separated"
    return str(getattr(hint, "__name__", hint)).lower()


def _text(given: Any) -> str:
    if isinstance(given, Mapping):
        return ",".join(
            f"{key}={_text(inner) if not isinstance(inner, tuple) else '|'.join(inner)}" for key, inner in given.items()
        )
    if isinstance(given, tuple):
        return ",".join(_text(item) for item in given)
    if isinstance(given, timedelta):
        return f"{given.total_seconds():g}"
    if isinstance(given, bool):
        return json.dumps(given)
    return without_password(str(given))


def _print_known(found: list[dict[str, str]], as_json: bool) -> None:
    shown = [{key: each[key] for key in ("name", "type", "default", "help")} for each in found]
    if as_json:
        put(shown)
    else:
        table("", ("name", "type", "default", "what it is"), [list(each.values()) for each in shown])


def _print_finding(each: Finding) -> None:
    sign, style = _SIGNS[each.state]
    line = Text.assemble((sign, style), f" {each.name}", (f"  {each.detail}" if each.detail else "", "dim"))
    if each.fix:
        line.append(f"  → {each.fix}")
    out.print(line, soft_wrap=True)
