"""Writes the generated pages of the reference from the code: `nox -s docs`, or `python docs/generate.py`.

Only ORION's own plugins are described, whatever else is installed. The output depends on the code alone, so that a
test can compare it with what is checked in.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from generate_http import http_page
from generate_text import (
    declared,
    error_link,
    event_link,
    first,
    markdown,
    operation_target,
    seconds,
    sentence,
    show,
    table,
    tidy,
)

import orion_core
import orion_plugins
from orion_core import composition
from orion_core.adapters.choose import SCHEMES
from orion_core.cli.doctor import known
from orion_core.contract import Contract, Operation, operations
from orion_core.contracts.platform import RequestsMeasured
from orion_core.errors import CATEGORIES, Error, category
from orion_core.events import event_type, is_event
from orion_core.plugin import Discovery, Hooks, Plugin, discover
from orion_core.ports.bus import Bus
from orion_core.settings import Settings
from orion_core.topology import HEARD_BY_HOSTS, topology
from orion_core.validators import schema_of
from orion_core.values import is_value

REFERENCE = Path(__file__).parent / "reference"
MARK = "<!-- Written by docs/generate.py: change the code, then run `nox -s docs`. -->"
NO_ERRORS_IN = ("orion_core.adapters", "orion_core.cli", "orion_core.testing", "orion_core.migrations")


INTRO = {
    "events": """
        Facts in the past tense. The service whose contract declares an event is its owner and alone publishes it.
        Fields are only ever added; a change of meaning is a new version.
        [What is promised about delivery](../explanation/events.md).
        """,
    "errors": """
        The `code` of a problem document (`application/problem+json`, RFC 9457) and of the error's class. Clients match
        on it; `detail` is for people and may change. Codes without a dot are categories: any operation may raise one,
        and an error that an operation does not declare arrives as its category with its code kept.
        [How errors are used](../howto/errors.md).
        """,
    "settings": """
        Each is a variable `ORION_…` in the environment, or a key in `orion.toml` in the working directory:
        `ORION_LOG_LEVEL=debug` is `log_level = "debug"`, and `ORION_AUTH_ACCESS_TTL=600` is `access_ttl = 600` below
        `[auth]`. The environment comes first, then the file, then what an `orion run --split` on the same data folder
        shares, then the default. An unknown key refuses the start. `orion doctor` shows what is set and from where.
        """,
    "ports": """
        What a service may ask of the world. A field of one of these types is filled by the platform. The scheme of a
        URL chooses the adapter:
        """,
    "plugin": """
        A plugin is one module, found by the entry-point group `orion.plugins`, that implements `orion_plugin` with
        `@hookimpl` and perhaps other hooks. [Write one](../tutorial/first-plugin.md).
        """,
    "index": """
        Generated from the code, except for the command line and the requirements. A test compares.

        - [Command line](cli.md): `orion run`, `orion migrate` and the others
        - [HTTP](http.md): every path and who may use it
        - [Settings](settings.md): every `ORION_…` variable
        - [Events](events.md): what is told, by whom, to whom
        - [Error codes](errors.md): what clients match on
        - [Topology](topology.md): who calls, tells and hears whom
        - [Ports](ports.md): what a service may ask of the world
        - [Hooks and the manifest](plugin.md): what a plugin says about itself
        - [Requirements](requirements/index.md): what ORION has to do, by number
        """,
}
"""What each page begins with."""


def own() -> Discovery:
    """ORION's own plugins, in alphabetical order."""
    found = discover()
    plugins = {
        name: found.plugins[name]
        for name in sorted(found.plugins)
        if getattr(found.modules[name], "__name__", "").startswith("orion_plugins.")
    }
    return Discovery(plugins, {name: found.modules[name] for name in plugins})


def render() -> dict[str, str]:
    """Every generated page: its path below docs/reference and its text."""
    discovery = own()
    plugins = discovery.plugins
    services = {f"services/{name}.md": service_page(plugin, discovery) for name, plugin in plugins.items()}
    pages = {
        "index.md": index_page(plugins),
        **services,
        "events.md": events_page(plugins),
        "errors.md": errors_page(plugins),
        "settings.md": settings_page(discovery),
        "ports.md": ports_page(),
        "plugin.md": plugin_page(),
        "topology.md": topology_page(plugins),
        "http.md": http_page(plugins),
    }
    return {name: f"{MARK}\n\n{tidy(text)}" for name, text in pages.items()}


# Services


def service_page(plugin: Plugin, discovery: Discovery) -> str:
    """All there is to know of one service."""
    package = sys.modules[discovery.modules[plugin.name].__name__.rpartition(".")[0]]  # type: ignore[attr-defined]
    lines = [f"# {plugin.name}", promises(package.__doc__), *facts(plugin)]
    contract = plugin.contract
    if contract is None:
        lines.append("It keeps no contract: other services do not call it.")
    else:
        lines += [f"## Contract `{contract.__name__}`", markdown(contract.__doc__)]
        lines.append(f"```python\nfrom {contract.__module__} import {contract.__name__}\n```")
        for operation in operations(contract).values():
            lines += operation_lines(contract, operation)
        values = [cls for cls in declared(contract) if is_value(cls) and not is_event(cls) and cls.__name__[0] != "_"]
        if values:
            lines.append("## Values")
        for cls in values:
            lines += [f"### `{cls.__name__}`", markdown(cls.__doc__), fields_table(cls)]
        errors = [cls for cls in declared(contract) if issubclass(cls, Error)]
        if errors:
            rows = [(error_link(cls, "../"), f"`{cls.__name__}`", first(cls.__doc__)) for cls in errors]
            lines += ["## Errors", table(("code", "class", "meaning"), rows)]
    told = [cls for cls in declared(contract) if is_event(cls)] if contract else []
    if told:
        told_lines = (f"- {event_link(event_type(cls).name, '../')}: {first(cls.__doc__)}" for cls in told)
        lines += ["## Tells", "\n".join(told_lines)]
    if plugin.listeners:
        heard = []
        for listener in plugin.listeners:
            names = ", ".join(event_link(name, "../") for name in listener.names) or "every event"
            heard.append(f"- {names}, by `{listener.queue}`{' in every process' if listener.broadcast else ''}")
        lines += ["## Hears", "\n".join(heard)]
    if plugin.jobs:
        rows = [
            (f"`{name}`", f"every {seconds(kind.every)}" if kind.every else "when enqueued", str(kind.retries))
            for name, kind in plugin.jobs.items()
        ]
        lines += ["## Jobs", table(("job", "runs", "retries"), rows)]
    return "\n\n".join(line for line in lines if line)


def promises(docstring: str | None) -> str:
    """The docstring of a plugin: what it does, asks, tells and hears, as a list."""
    parts = re.split(r"(?m)^(?:What it )?(does|asks|tells|hears): ", markdown(docstring), flags=re.IGNORECASE)
    points = [
        f"- **{word.capitalize()}**: {' '.join(text.split())}"
        for word, text in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return parts[0].strip() + "\n\n" + "\n".join(points)


def facts(plugin: Plugin) -> list[str]:
    """Ports, paths and tables of `plugin`, as a table."""
    wanted = [f"`{kind.__name__}`" for kind in composition.needs(plugin).values()]
    rows = [
        ("port of a process of its own", str(plugin.port or "-")),
        ("public paths", ", ".join(f"`{path}`" for path in plugin.paths) if plugin.routes else "-"),
        ("needs", ", ".join(wanted) or "-"),
        ("tables", ", ".join(f"`{each._meta.tablename}`" for each in plugin.tables) or "-"),  # type: ignore[attr-defined]  # noqa: SLF001 - Piccolo's only way
        ("permissions", ", ".join(f"`{each}`" for each in plugin.permissions) or "-"),
        ("settings", f"[`ORION_{plugin.name.upper()}_*`](../settings.md#{plugin.name})" if plugin.settings else "-"),
    ]
    return [table(("", ""), rows)]


def operation_lines(contract: type[Contract], operation: Operation) -> list[str]:
    """One operation: its signature, what it does, its errors."""
    method = getattr(contract, operation.name)
    arguments = []
    for name, kind in operation.parameters.items():
        default = operation.signature.parameters[name].default
        given = "" if default is inspect.Parameter.empty else f" = {default!r}"
        arguments.append(f"{name}: {show(kind)}{given}")
    signature = f"await {contract.contract_name}.{operation.name}({', '.join(arguments)}) -> {show(operation.result)}"
    lines = [
        f"### `{contract.contract_name}.{operation.name}`",
        f"```python\n{signature}\n```",
        markdown(method.__doc__),
    ]
    if operation.raises:
        lines.append("Raises " + ", ".join(error_link(error, "../") for error in operation.raises) + ".")
    if operation.repeatable:
        lines.append("Repeatable: a lost answer is asked for again.")
    return lines


def fields_table(cls: type) -> str:
    """The fields of a value."""
    hints = typing.get_type_hints(cls)
    rows = []
    for field in attrs.fields(cls):
        limits = ", ".join(f"{key} `{limit}`".replace("|", "\\|") for key, limit in schema_of(field).items())
        default = "required" if field.default is attrs.NOTHING else f"`{field.default!r}`"
        rows.append((f"`{field.name}`", f"`{show(hints[field.name])}`".replace("|", "\\|"), default, limits))
    return table(("field", "type", "default", "limits"), rows)


# Events, errors


def events_page(plugins: Mapping[str, Plugin]) -> str:
    """Every event with its owner, its fields and who hears it."""
    lines = [
        "# Events",
        inspect.cleandoc(INTRO["events"]),
    ]
    told = [
        (f"[{name}](services/{name}.md)", cls)
        for name, plugin in plugins.items()
        for cls in (declared(plugin.contract) if plugin.contract else ())
    ]
    told += [("every service, published by core", cls) for cls in declared(RequestsMeasured)]
    for owner, cls in told:
        if is_event(cls):
            kind = event_type(cls)
            hearers = [
                f"`{each.queue}`" for other in plugins.values() for each in other.listeners if kind.name in each.names
            ]
            if kind.name in HEARD_BY_HOSTS:
                hearers.append("every host, which forgets what it remembers of it")
            rows = [
                ("version", str(kind.version)),
                ("class", f"`{cls.__module__}.{cls.__name__}`"),
                ("owner", owner),
                ("about", f"`{kind.subject}`" if kind.subject else "-"),
                ("must be heard", "yes: reaching no queue is an alarm" if kind.heard else "no"),
                ("heard by", ", ".join(hearers) or "nobody so far"),
            ]
            lines += [f"## {kind.name}", markdown(cls.__doc__), table(("", ""), rows), fields_table(cls)]
    return "\n\n".join(lines)


def errors() -> list[type[Error]]:
    """Every error class of ORION with a code of its own, by code."""
    for package in (orion_core, orion_plugins):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(NO_ERRORS_IN) and ".migrations" not in module.name:
                importlib.import_module(module.name)
    found: dict[str, type[Error]] = {}
    waiting = list(Error.__subclasses__())
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        ours = cls.__module__.startswith(("orion_core.", "orion_plugins.")) and "code" in vars(cls)
        if ours and not cls.__module__.startswith(NO_ERRORS_IN):
            found[cls.code] = cls
    return [found[code] for code in sorted(found, key=lambda code: ("." in code, code))]


def errors_page(plugins: Mapping[str, Plugin]) -> str:
    """Every error code: its status, its meaning, and which operations declare it."""
    raised: dict[str, list[str]] = {}
    for name, plugin in plugins.items():
        for operation in operations(plugin.contract).values() if plugin.contract else ():
            for error in operation.raises:
                raised.setdefault(error.code, []).append(
                    f"[`{name}.{operation.name}`]({operation_target(name, operation)})"
                )
    lines = [
        "# Error codes",
        inspect.cleandoc(INTRO["errors"]),
    ]
    for cls in errors():
        about = [("status", f"{cls.status} {cls.title}"), ("class", f"`{cls.__module__}.{cls.__name__}`")]
        if cls not in CATEGORIES:
            about.append(("category", f"`{category(cls).__name__}`"))
        if cls.code in raised:
            about.append(("declared by", ", ".join(raised[cls.code])))
        lines += [f"## {cls.code}", markdown(cls.__doc__), table(("", ""), about)]
    return "\n\n".join(lines)


# Settings, ports, plugin and hooks


def settings_page(discovery: Discovery) -> str:
    """Every setting, as `orion doctor --settings` lists them."""
    lines = [
        "# Settings",
        inspect.cleandoc(INTRO["settings"]),
    ]
    by_service: dict[str, list[dict[str, str]]] = {}
    for each in known(discovery):
        by_service.setdefault(each["service"], []).append(each)
    for service, found in by_service.items():
        lines.append(f"## {service or 'Host'}")
        for each in found:
            empty = each["default"] in ("", "(empty)")
            default = "empty by default" if empty else f"default `{each['default']}`"
            lines += [f"### {each['name']}", f"{sentence(each['help'])}\n\n{sentence(each['type'])[:-1]}; {default}."]
    return "\n\n".join(lines)


def ports_page() -> str:
    """Every port with its guarantees and methods."""
    schemes = ((port, ", ".join(f"`{scheme}:`" for scheme in found)) for port, found in SCHEMES.items())
    lines = [
        "# Ports",
        inspect.cleandoc(INTRO["ports"]),
        table(("port", "schemes"), list(schemes)),
    ]
    for port in (*composition.PORTS, Bus):
        if port is Settings:
            lines += ["## Settings", "The host's settings: see [Settings](settings.md)."]
            continue
        module = sys.modules[port.__module__]
        lines += [f"## {port.__name__}", f"`{port.__module__}.{port.__name__}`: {first(port.__doc__)}"]
        if port is Bus:
            lines.append("Not for services: they publish with `Events` and listen with `@on`.")
        if guarantees := (module.__doc__ or "").partition("Guarantees: ")[2]:
            lines.append("Guarantees: " + markdown(guarantees))
        for name, member in vars(port).items():
            if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property | classmethod)):
                continue
            lines += [f"### `{port.__name__}.{name}`", *member_lines(name, member)]
    return "\n\n".join(lines)


def plugin_page() -> str:
    """The hooks and the manifest."""
    names = {name: hook for name, hook in vars(Hooks).items() if name.startswith("orion_")}
    lines = [
        "# Hooks and the manifest",
        inspect.cleandoc(INTRO["plugin"]),
    ]
    for name, hook in names.items():
        lines += [f"## `{name}`", *member_lines(name, hook)]
    rows = [
        (f"`{field.name}`", "required" if field.default is attrs.NOTHING else "optional")
        for field in attrs.fields(Plugin)
    ]
    return "\n\n".join([*lines, "## `Plugin`", markdown(Plugin.__doc__), table(("field", ""), rows)])


def member_lines(name: str, member: Any) -> list[str]:
    """Signature and docstring of a method or property."""
    prefix = ""
    function = member
    if isinstance(member, property):
        function, prefix = member.fget, "property "
    elif isinstance(member, classmethod):
        function, prefix = member.__func__, "classmethod "
    hints = dict(function.__annotations__)
    arguments = []
    for each in list(inspect.signature(function).parameters.values())[1:]:
        star = "*" if each.kind is each.VAR_POSITIONAL else ""
        default = "" if each.default is each.empty else f" = {each.default!r}"
        arguments.append(f"{star}{each.name}: {hints.get(each.name, 'Any')}{default}")
    shown = name if prefix == "property " else f"{name}({', '.join(arguments)})"
    before = "async " if inspect.iscoroutinefunction(function) else ""
    return [f"```python\n{prefix}{before}{shown} -> {hints.get('return', 'None')}\n```", markdown(member.__doc__)]


# Topology, HTTP, index


def topology_page(plugins: Mapping[str, Plugin]) -> str:
    """Who calls, tells and hears what."""
    found = topology(plugins)
    hosts = " and ".join(event_link(name) for name in HEARD_BY_HOSTS)
    rows = [(event_link(told.event), told.teller, told.hearer) for told in found.events]
    lines = [
        "# Topology",
        "Solid arrows are calls, dotted ones events; `orion topology` shows the same for what is installed.",
        f"```mermaid\n{found.mermaid()}\n```",
        "## Calls",
        table(("from", "to"), list(found.calls)) if found.calls else "No service of this version calls another one.",
        "## Events",
        table(("event", "told by", "heard by"), rows),
        f"Every host hears {hosts} and forgets what it remembers of the session.",
    ]
    return "\n\n".join(lines)


def index_page(plugins: Mapping[str, Plugin]) -> str:
    """What there is in the reference."""
    rows = [(f"[{name}](services/{name}.md)", _does(plugin)) for name, plugin in plugins.items()]
    return "\n\n".join(
        [
            "# Reference",
            inspect.cleandoc(INTRO["index"]),
            "## Services",
            table(("service", ""), rows),
        ]
    )


def _does(plugin: Plugin) -> str:
    contract = plugin.contract
    if contract is not None:
        return first(contract.__doc__)
    return first(sys.modules[f"orion_plugins.{plugin.name}"].__doc__)


def write(pages: Mapping[str, str], say: Callable[[str], object] = lambda line: None) -> None:
    """Write `pages` and remove pages that were generated once and are no more."""
    for path in sorted(REFERENCE.rglob("*.md")):
        if path.read_text(encoding="utf-8").startswith(MARK) and str(path.relative_to(REFERENCE)) not in pages:
            path.unlink()
            say(f"removed {path.name}")
    for name, text in pages.items():
        path = REFERENCE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            say(f"wrote {name}")


if __name__ == "__main__":
    write(render(), say=lambda line: sys.stdout.write(f"{line}\n"))
