"""Auth described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.auth.routes import AuthRoutes, KeyRoutes
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import AuditLog, RefreshToken, Session, User

if TYPE_CHECKING:
    import typer


@hookimpl
def orion_plugin() -> Plugin:
    """The plugin auth."""
    return Plugin(
        "auth",
        service=AuthService,
        routes=[AuthRoutes, KeyRoutes],
        tables=[User, Session, RefreshToken, AuditLog],
        migrations="orion_plugins.auth.migrations",
        settings=AuthSettings,
        permissions=["accounts:read", "accounts:write"],
        prefixes=["/.well-known/jwks.json"],
        port=3001,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion users ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.auth.commands import users

    cli.add_typer(users, name="users")
