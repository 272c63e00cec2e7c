"""Commands of plugins, each tried on its own before it joins the command line."""

from __future__ import annotations

import attrs
import typer
from typer.main import get_command, get_command_name
from typer.models import CommandInfo, DefaultPlaceholder, TyperInfo

from orion_core.plugin import Broken, Discovery


def add_commands(app: typer.Typer, discovery: Discovery) -> tuple[Broken, ...]:
    """Add the commands of every plugin to `app`; returns the plugins whose commands cannot be used, with the reason.

    Groups of the same name become one. A command never replaces one that is there already.
    """
    failed: list[Broken] = []
    for name, module in discovery.modules.items():
        # A scratch command line of its own: what is wrong with one plugin must not reach the others.
        scratch = typer.Typer()
        broken = attrs.evolve(discovery, modules={name: module}).commands(scratch)
        if broken:
            failed += broken
            continue
        if not scratch.registered_commands and not scratch.registered_groups:
            continue
        try:
            scratch.callback()(_nothing)
            get_command(scratch)
            _join(app, scratch)
        except Exception as error:
            failed.append(Broken(name, f"{type(error).__name__}: {error}"))
    return tuple(failed)


def _nothing() -> None:
    """A callback keeps typer from making the only command of an application the application itself."""


def _join(app: typer.Typer, more: typer.Typer) -> None:
    taken = {_name_of(command) for command in app.registered_commands} | {
        _group_name(group) for group in app.registered_groups
    }
    if clash := taken & {_name_of(command) for command in more.registered_commands}:
        raise ValueError(f"the command {', '.join(sorted(clash))} is there already")
    merged = {}
    for group in more.registered_groups:
        name = _group_name(group)
        if name in {_name_of(command) for command in app.registered_commands}:
            raise ValueError(f"the command {name} is there already")
        first = next((each for each in app.registered_groups if _group_name(each) == name), None)
        merged[name] = group if first is None else _union(name, first, group)
    kept = [group for group in app.registered_groups if _group_name(group) not in merged]
    app.registered_groups[:] = [*kept, *merged.values()]
    app.registered_commands.extend(more.registered_commands)


def _union(name: str, first: TyperInfo, second: TyperInfo) -> TyperInfo:
    assert first.typer_instance is not None
    assert second.typer_instance is not None
    # A new group: a plugin keeps its own in its module, and a second command line is made from that again.
    both = typer.Typer()
    both.registered_callback = first.typer_instance.registered_callback
    both.info = first.typer_instance.info
    both.registered_commands = list(first.typer_instance.registered_commands)
    both.registered_groups = list(first.typer_instance.registered_groups)
    try:
        _join(both, second.typer_instance)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    made = TyperInfo(both)
    for field, given in vars(first).items():
        if field != "typer_instance":
            setattr(made, field, given)
    return made


def _name_of(command: CommandInfo) -> str:
    if command.name:
        return command.name
    return get_command_name(command.callback.__name__) if command.callback else ""


def _group_name(group: TyperInfo) -> str:
    for given in (group.name, group.typer_instance.info.name if group.typer_instance else None):
        found = given.value if isinstance(given, DefaultPlaceholder) else given
        if found:
            return str(found)
    return ""
