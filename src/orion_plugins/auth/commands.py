"""``orion users ...``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from orion_core.cli.console import fail, problems_of, put, say
from orion_core.contracts.auth import Account, Auth, Register
from orion_core.errors import Error, StartRefused
from orion_plugins.auth.access_commands import disable, enable, reset_factors, roles

users = typer.Typer(name="users", help="Accounts of people.", no_args_is_help=True)
users.add_typer(roles)
users.command("disable", epilog="Example: orion users disable ada@example.org")(disable)
users.command("enable", epilog="Example: orion users enable ada@example.org")(enable)


users.command("reset-factors", epilog="Example: orion users reset-factors ada@example.org")(reset_factors)


@users.callback()
def _group() -> None:
    """Accounts of people."""


@users.command("create-admin", epilog="Example: orion users create-admin --email ada@example.org")
def create_admin(
    email: Annotated[str, typer.Option(help="Address of the administrator.")],
    password: Annotated[
        str,
        typer.Option(
            help="Password of a new account; asked for if left out.",
            prompt=True,
            confirmation_prompt=True,
            hide_input=True,
        ),
    ],
    name: Annotated[str, typer.Option(help="What the administrator wants to be called.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
) -> None:
    """Make an administrator: a new account, or an existing one that gets the role and keeps its password.

    Works on the configured database, whether or not a host is running on it.
    """
    try:
        account = asyncio.run(_create_admin(email, password, name))
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
    if as_json:
        put({"id": str(account.id), "email": account.email})
    else:
        say(f"{account.email} is an administrator (id {account.id})")


async def _create_admin(email: str, password: str, name: str) -> Account:
    # Imported late: help and completion need no platform.
    from orion_core.cli.embed import serving

    data = Register(email, password, name)
    async with serving("auth") as platform:
        return await platform.service(Auth).create_admin(data)
