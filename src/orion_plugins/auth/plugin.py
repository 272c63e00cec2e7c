"""Auth described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.contracts.auth_sessions import MANAGE_SESSIONS
from orion_core.plugin import Plugin, hookimpl
from orion_plugins.auth.access_routes import AccountRoutes as AdministrationRoutes
from orion_plugins.auth.access_routes import GrantRoutes, RoleRoutes
from orion_plugins.auth.account_routes import AccountRoutes
from orion_plugins.auth.api_key_routes import ApiKeyRoutes
from orion_plugins.auth.mailed_routes import MailedRoutes
from orion_plugins.auth.routes import AuthRoutes, KeyRoutes
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.session_routes import AdminSessionRoutes, SessionRoutes
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import (
    AuditLog,
    AuthApiKey,
    AuthGrant,
    AuthRole,
    AuthRoleHolder,
    Flow,
    RefreshToken,
    Session,
    Throttle,
    User,
)

if TYPE_CHECKING:
    import typer


@hookimpl
def orion_plugin() -> Plugin:
    """The plugin auth."""
    return Plugin(
        "auth",
        service=AuthService,
        routes=[
            AuthRoutes,
            KeyRoutes,
            AccountRoutes,
            MailedRoutes,
            SessionRoutes,
            AdminSessionRoutes,
            ApiKeyRoutes,
            RoleRoutes,
            GrantRoutes,
            AdministrationRoutes,
        ],
        tables=[
            User,
            Session,
            RefreshToken,
            AuditLog,
            AuthRole,
            AuthRoleHolder,
            AuthGrant,
            AuthApiKey,
            Throttle,
            Flow,
        ],
        migrations="orion_plugins.auth.migrations",
        settings=AuthSettings,
        permissions=["accounts:manage", "roles:manage", "grants:manage", MANAGE_SESSIONS],
        prefixes=["/.well-known/jwks.json"],
        port=3001,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion users ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.auth.commands import users

    cli.add_typer(users, name="users")
