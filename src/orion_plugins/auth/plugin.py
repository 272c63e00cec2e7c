"""Auth described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.contracts.auth_sessions import MANAGE_SESSIONS
from orion_core.plugin import Plugin, hookimpl
from orion_plugins.auth.access_routes import AccountRoutes as AdministrationRoutes
from orion_plugins.auth.access_routes import GrantRoutes, RoleRoutes
from orion_plugins.auth.account_routes import AccountRoutes
from orion_plugins.auth.api_key_routes import ApiKeyRoutes
from orion_plugins.auth.audit_routes import AuditRoutes
from orion_plugins.auth.factor_routes import AdminFactorRoutes, FactorRoutes
from orion_plugins.auth.impersonation_routes import ImpersonationRoutes
from orion_plugins.auth.mailed_routes import MailedRoutes
from orion_plugins.auth.routes import AuthRoutes, KeyRoutes
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.session_routes import AdminSessionRoutes, SessionRoutes
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import (
    SEALED,
    AuditHead,
    AuditLog,
    AuthApiKey,
    AuthGrant,
    AuthRole,
    AuthRoleHolder,
    FactorChallenge,
    Flow,
    KeyringMark,
    PersonKey,
    RecoveryCode,
    RefreshToken,
    Session,
    SigningKey,
    Throttle,
    TotpFactor,
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
            AuditRoutes,
            ImpersonationRoutes,
            FactorRoutes,
            AdminFactorRoutes,
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
            AuditHead,
            PersonKey,
            SigningKey,
            KeyringMark,
            TotpFactor,
            RecoveryCode,
            FactorChallenge,
        ],
        migrations="orion_plugins.auth.migrations",
        settings=AuthSettings,
        sealed=SEALED,
        permissions=[
            "accounts:impersonate",
            "accounts:manage",
            "audit:read",
            "grants:manage",
            "keys:read",
            "keys:write",
            "roles:manage",
            MANAGE_SESSIONS,
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
