"""``orion keyring``: the secret keys of a deployment."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    group = typer.Typer(name="keyring", help="The secret keys of a deployment.", no_args_is_help=True)
    group.callback()(_group)
    group.command("new", epilog="Example:  orion keyring new > keyring.json")(new)
    app.add_typer(group)


def _group() -> None:
    """The secret keys of a deployment."""


def new() -> None:
    """Print a new keyring: keys that sign tokens, pepper passwords and encrypt.

    Keep it in a file that only the hosts can read, and name that file in ORION_KEYRING.
    """
    from orion_core.keyring import Keyring

    typer.echo(Keyring.generate().dump())
