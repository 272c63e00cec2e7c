"""``orion keyring``: the secret keys of a deployment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orion_core.resealing import Resealed

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    group = typer.Typer(name="keyring", help="The secret keys of a deployment.", no_args_is_help=True)
    group.callback()(_group)
    group.command("new", epilog="Example:  orion keyring new > keyring.json")(new)
    group.command("status", epilog="Example:  orion keyring status")(status)
    group.command("reencrypt", epilog="Example:  orion keyring reencrypt")(reencrypt)
    app.add_typer(group)


def _group() -> None:
    """The secret keys of a deployment."""


def new() -> None:
    """Print a new keyring: keys that sign tokens, pepper passwords and encrypt.

    Keep it in a file that only the hosts can read, and name that file in ORION_KEYRING.
    """
    from orion_core.keyring import Keyring

    typer.echo(Keyring.generate().dump())


def status(as_json: AsJson = False) -> None:
    """Count what each encryption key has encrypted, per column. A key that has nothing left may leave the keyring.

    A question mark stands for keys that are not in the keyring.
    """
    from orion_core.cli.console import put, table

    counts = asyncio.run(_counts())
    if as_json:
        put(counts)
        return
    rows = [
        (service, column, kid, str(found))
        for service, columns in counts.items()
        for column, kids in columns.items()
        for kid, found in kids.items()
    ]
    table("Encrypted values", ("service", "column", "key", "values"), rows)


def reencrypt(as_json: AsJson = False) -> None:
    """Encrypt everything with the first encryption key of the keyring, now.

    A running host does the same within an hour. The exit code is 1 if something does not open.
    """
    from orion_core.cli.console import put, say

    done = asyncio.run(_reencrypt())
    if as_json:
        put({service: {"moved": each.moved, "failed": each.failed} for service, each in done.items()})
    else:
        for service, each in done.items():
            say(f"{service}: {each.moved} encrypted anew, {each.failed} did not open")
    if any(each.failed for each in done.values()):
        raise typer.Exit(1)


async def _counts() -> dict[str, dict[str, dict[str, int]]]:
    from orion_core.cli.embed import serving

    async with serving(*_services()) as platform:
        found = {name: platform.resealing(name) for name in platform.served}
        return {name: await each.counts() for name, each in found.items() if each is not None}


async def _reencrypt() -> dict[str, Resealed]:
    from orion_core.cli.embed import serving

    async with serving(*_services()) as platform:
        found = {name: platform.resealing(name) for name in platform.served}
        return {name: await each.run() for name, each in found.items() if each is not None}


def _services() -> list[str]:
    """The installed plugins that keep anything encrypted."""
    from orion_core.cli.configured import discovered

    return [name for name, plugin in discovered().plugins.items() if plugin.sealed]
