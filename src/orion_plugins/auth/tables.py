"""The tables of auth."""

from __future__ import annotations

from piccolo.columns import UUID, ForeignKey, Integer, OnDelete, Text, Timestamptz, Varchar
from piccolo.table import Table

ACTIVE = "active"
"""The one `status` of an account whose owner may sign in."""


ERASED = "erased"
"""The `status` of an account whose owner was erased: for good."""


class User(Table, tablename="users"):
    """An account. `email` is what mail goes to, `email_key` what must differ between accounts (see `emails`).

    An empty `password_hash` means that nobody can sign in with a password. `version` is the auth epoch: a token with
    another one no longer counts. `roles` is a JSON list.
    """

    id = UUID(primary_key=True, default=None)
    email = Varchar(length=320)
    email_key = Varchar(length=1024, unique=True)
    password_hash = Text(default="", secret=True)
    roles = Text(default="[]")
    status = Varchar(length=16, default=ACTIVE)
    version = Integer(default=1)
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)


class Session(Table, tablename="sessions"):
    """One sign-in and all refresh tokens that descend from it (a family); its id is the `sid` of access tokens.

    `token_hash` is that of its latest refresh token. It ends at `expires_at` whatever happens, at `idle_expires_at`
    without a refresh, and at once when `revoked_at` is set. `amr` is a JSON list (RFC 8176).
    """

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    token_hash = Varchar(length=64)
    expires_at = Timestamptz(default=None)
    idle_expires_at = Timestamptz(default=None, index=True)
    ip_address = Varchar(length=64, default="")
    user_agent = Varchar(length=512, default="")
    amr = Text(default="[]")
    created_at = Timestamptz(default=None)
    last_used_at = Timestamptz(default=None)
    revoked_at = Timestamptz(default=None, null=True)
    revoked_reason = Varchar(length=64, default="")


class RefreshToken(Table, tablename="refresh_tokens"):
    """One refresh token, by its SHA-256. `successor` is the sealed pair that its use gave, while a retry may ask."""

    id = UUID(primary_key=True, default=None)
    session_id = ForeignKey(references=Session, on_delete=OnDelete.cascade, null=False, index=True)
    token_hash = Varchar(length=64, unique=True)
    created_at = Timestamptz(default=None)
    expires_at = Timestamptz(default=None)
    used_at = Timestamptz(default=None, null=True)
    successor = Text(default=None, null=True, secret=True)


class AuditLog(Table, tablename="auth_audit_logs"):
    """One thing that happened to an account or session: who did it, to whom, how it ended, and why. Never a secret.

    `other_ip_address` is that of the session concerned, where it matters beside the one who asked.
    """

    id = UUID(primary_key=True, default=None)
    user_id = UUID(default=None, null=True, index=True)
    action = Varchar(length=64, index=True)
    ip_address = Varchar(length=64, default="")
    other_ip_address = Varchar(length=64, default="")
    timestamp = Timestamptz(default=None, index=True)
    outcome = Varchar(length=16)
    reason = Varchar(length=64, default="")
    actor = Varchar(length=128)
    impersonator = Varchar(length=128, default="")
    method = Varchar(length=32, default="")
    session_id = UUID(default=None, null=True)
    request_id = Varchar(length=64, default="")
    user_agent = Varchar(length=512, default="")
