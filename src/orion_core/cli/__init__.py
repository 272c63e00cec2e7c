"""The command line: ``orion``.

Each command is a file of this package and imports what it needs when it runs. Plugins add commands through the hook
`orion_commands`; groups of the same name are merged.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orion_core.cli import demo, doctor, keyring, migrate, plugins, run, topology
from orion_core.cli.console import fail, problems_of, warn
from orion_core.cli.merge import add_commands

_HELP = """The backend every product needs: one process on SQLite, or many on PostgreSQL, Redis and RabbitMQ.

Settings are ORION_* variables or orion.toml; orion doctor shows them and what is wrong."""
_EPILOG = """Start here:  orion run

Then:  orion demo  shows people and events,  orion topology  who talks to whom."""
_ALONE = ("run", "keyring", "--version")
"""What needs no commands of plugins: nothing of theirs is loaded for it."""


class Orion(TyperGroup):
    """Turns what a person can act on into lines on standard error and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            problems = problems_of(error)
            if problems is None:
                raise
            fail(problems)
            raise typer.Exit(1) from error


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"orion {importlib.metadata.version('orion-platform')}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def command_line(*, with_plugins: bool = True) -> typer.Typer:
    """The whole command line, with the commands of all installed plugins unless told otherwise."""
    app = typer.Typer(
        name="orion",
        cls=Orion,
        help=_HELP,
        epilog=_EPILOG,
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_root)
    for module in (run, migrate, plugins, doctor, topology, demo, keyring):
        module.register(app)
    if with_plugins:
        from orion_core.cli.configured import discovered

        for broken in add_commands(app, discovered()):
            warn(f"the commands of the plugin {broken.name} are left out: {broken.reason}")
    return app


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 fine, 1 refused or a problem, 2 usage."""
    # Hundreds of modules are about to be loaded, none of which is garbage. A host sets this again when it has started.
    gc.set_threshold(200_000, 50, 50)
    given = list(sys.argv[1:] if args is None else args)
    first = next((arg for arg in given if arg in _ALONE or not arg.startswith("-")), "")
    try:
        command_line(with_plugins=first not in _ALONE)(given, prog_name="orion")
    except KeyboardInterrupt:
        # Ctrl-C while modules are still being loaded.
        sys.exit(130)
