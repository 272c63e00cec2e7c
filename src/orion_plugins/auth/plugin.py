"""Auth described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.auth.audit_routes import AuditRoutes
from orion_plugins.auth.impersonation_routes import ImpersonationRoutes
from orion_plugins.auth.routes import AuthRoutes, KeyRoutes
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import (
    SEALED,
    AuditHead,
    AuditLog,
    KeyringMark,
    PersonKey,
    RefreshToken,
    Session,
    SigningKey,
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
        routes=[AuthRoutes, KeyRoutes, AuditRoutes, ImpersonationRoutes],
        tables=[User, Session, RefreshToken, AuditLog, AuditHead, PersonKey, SigningKey, KeyringMark],
        migrations="orion_plugins.auth.migrations",
        settings=AuthSettings,
        sealed=SEALED,
        permissions=[
            "accounts:read",
            "accounts:write",
            "accounts:impersonate",
            "audit:read",
            "keys:read",
            "keys:write",
        ],
        prefixes=["/.well-known/jwks.json"],
        port=3001,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion users ...``, ``orion audit ...`` and ``orion keys ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.auth.audit_commands import audit
    from orion_plugins.auth.commands import users
    from orion_plugins.auth.key_commands import keys

    cli.add_typer(audit, name="audit")
    cli.add_typer(keys, name="keys")
    cli.add_typer(users, name="users")
