"""``orion users roles ...``, ``orion users disable`` and ``orion users enable``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from orion_core.cli.console import fail, problems_of, put, say, table
from orion_core.codec import to_plain
from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_access import HeldRoles, NewRole, Role, RoleList
from orion_core.errors import Error, StartRefused

T = TypeVar("T")
Email = Annotated[str, typer.Argument(help="Address of the account.")]
RoleName = Annotated[str, typer.Argument(help="Name of the role.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

roles = typer.Typer(name="roles", help="Roles, and who holds them.", no_args_is_help=True)


@roles.callback()
def _group() -> None:
    """Roles, and who holds them."""


@roles.command("list", epilog="Example: orion users roles list")
def list_roles(as_json: AsJson = False) -> None:
    """List all roles with what they give."""

    async def ask(auth: Auth) -> RoleList:
        return await auth.roles()

    found = _ask(ask)
    if as_json:
        put(to_plain(found))
        return
    rows = [(each.name, " ".join(each.permissions), each.description) for each in found.items]
    table("Roles", ("name", "permissions", "description"), rows)


@roles.command("create", epilog="Example: orion users roles create clerk invoices:read invoices:write")
def create(
    name: RoleName,
    permissions: Annotated[list[str], typer.Argument(help="What it gives: resource:action, or resource:* for all.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a role."""

    async def ask(auth: Auth) -> Role:
        return await auth.create_role(NewRole(name, tuple(permissions), description))

    made = _ask(ask)
    if as_json:
        put(to_plain(made))
    else:
        say(f"{made.name} gives {' '.join(made.permissions)}")


@roles.command("of", epilog="Example: orion users roles of ada@example.org")
def of(email: Email, as_json: AsJson = False) -> None:
    """Show the roles of an account."""

    async def ask(auth: Auth) -> HeldRoles:
        return await auth.roles_of((await auth.account_by_email(email)).id)

    _show(email, _ask(ask), as_json)


@roles.command("add", epilog="Example: orion users roles add ada@example.org clerk")
def add(email: Email, role: RoleName, as_json: AsJson = False) -> None:
    """Give an account a role. It counts at once, and in running hosts within a second."""

    async def ask(auth: Auth) -> HeldRoles:
        account = await auth.account_by_email(email)
        await auth.assign_role(account.id, role)
        return await auth.roles_of(account.id)

    _show(email, _ask(ask), as_json)


@roles.command("remove", epilog="Example: orion users roles remove ada@example.org clerk")
def remove(email: Email, role: RoleName, as_json: AsJson = False) -> None:
    """Take a role from an account; the last administrator stays one."""

    async def ask(auth: Auth) -> HeldRoles:
        account = await auth.account_by_email(email)
        await auth.unassign_role(account.id, role)
        return await auth.roles_of(account.id)

    _show(email, _ask(ask), as_json)


def disable(email: Email) -> None:
    """Close an account until it is enabled again: its sessions end and its API keys count no more."""

    async def ask(auth: Auth) -> None:
        await auth.disable_account((await auth.account_by_email(email)).id)

    _ask(ask)
    say(f"{email} is disabled")


def enable(email: Email) -> None:
    """Open a disabled account again."""

    async def ask(auth: Auth) -> None:
        await auth.enable_account((await auth.account_by_email(email)).id)

    _ask(ask)
    say(f"{email} is enabled")


def reset_factors(email: Email) -> None:
    """Remove the second factors of somebody who is locked out. Make sure first that it is them; their sessions end."""

    async def ask(auth: Auth) -> None:
        await auth.reset_factors((await auth.account_by_email(email)).id)

    _ask(ask)
    say(f"{email} signs in with the password alone")


def _show(email: str, held: HeldRoles, as_json: bool) -> None:
    if as_json:
        put(to_plain(held))
    else:
        say(f"{email} holds {' '.join(held.roles) or 'no role'}")


def _ask(ask: Callable[[Auth], Awaitable[T]]) -> T:
    async def run() -> T:
        # Imported late: help and completion need no platform.
        from orion_core.cli.embed import serving

        async with serving("auth") as platform:
            return await ask(platform.service(Auth))

    try:
        return asyncio.run(run())
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
