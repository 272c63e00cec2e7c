"""``orion keys list`` and ``rotate``."""

from __future__ import annotations

from typing import Annotated

import typer

from orion_core.cli.console import put, say, table
from orion_core.codec import to_plain
from orion_core.contracts.auth_keys import SigningKeyState
from orion_plugins.auth.audit_commands import ask

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

keys = typer.Typer(name="keys", help="The keys that sign access tokens.", no_args_is_help=True)


@keys.callback()
def _group() -> None:
    """The keys that sign access tokens."""


@keys.command("list", epilog="Example: orion keys list")
def list_keys(as_json: AsJson = False) -> None:
    """List signing keys, newest first; never their secrets."""
    found: tuple[SigningKeyState, ...] = ask(lambda auth: auth.signing_keys())
    if as_json:
        put([to_plain(each) for each in found])
        return
    rows = [
        (
            each.kid,
            each.state,
            each.signs_from.isoformat("T", "seconds"),
            each.verifies_until.isoformat("T", "seconds") if each.verifies_until else "",
        )
        for each in found
    ]
    table("Signing keys", ("kid", "state", "signs from", "verifies until"), rows)


@keys.command("rotate", epilog="Example: orion keys rotate")
def rotate(as_json: AsJson = False) -> None:
    """Introduce a new signing key. Nobody is signed out.

    It signs after six minutes, when every verifier knows it; the old one verifies until its last token has expired.
    """
    made: SigningKeyState = ask(lambda auth: auth.rotate_signing_key())
    if as_json:
        put(to_plain(made))
    else:
        say(f"{made.kid} is published and signs from {made.signs_from.isoformat('T', 'seconds')}")
