"""The tables of auth."""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, ForeignKey, Integer, OnDelete, Text, Timestamptz, Varchar
from piccolo.table import Table

from orion_core.plugin import Sealed

ACTIVE = "active"
"""The one `status` of an account whose owner may sign in."""


DISABLED = "disabled"
"""The `status` of an account that an administrator closed, and may open again."""

ERASED = "erased"
"""The `status` of an account whose owner was erased: for good."""


class User(Table, tablename="users"):
    """An account. `email` is what mail goes to, `email_key` what must differ between accounts (see `emails`).

    An empty `password_hash` means that nobody can sign in with a password. `version` is the auth epoch: a token with
    another one no longer counts. `email_verified_at` is when mail to the address was proved to arrive.
    """

    id = UUID(primary_key=True, default=None)
    email = Varchar(length=320)
    email_key = Varchar(length=1024, unique=True)
    password_hash = Text(default="", secret=True)
    status = Varchar(length=16, default=ACTIVE)
    version = Integer(default=1)
    email_verified_at = Timestamptz(default=None, null=True)
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)


class Session(Table, tablename="sessions"):
    """One sign-in and all refresh tokens that descend from it (a family); its id is the `sid` of access tokens.

    `token_hash` is that of its latest refresh token. It ends at `expires_at` whatever happens, at `idle_expires_at`
    without a refresh, and at once when `revoked_at` is set. `amr` is a JSON list (RFC 8176). `client` keeps its refresh
    tokens: ``token`` or ``cookie``; no other one may use them. `impersonator_id` is the administrator who acts as its
    person; such a session has no refresh token.
    """

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    token_hash = Varchar(length=64)
    expires_at = Timestamptz(default=None)
    idle_expires_at = Timestamptz(default=None, index=True)
    ip_address = Varchar(length=64, default="")
    user_agent = Varchar(length=512, default="")
    client = Varchar(length=16, default="token")
    amr = Text(default="[]")
    created_at = Timestamptz(default=None)
    last_used_at = Timestamptz(default=None)
    revoked_at = Timestamptz(default=None, null=True)
    revoked_reason = Varchar(length=64, default="")
    impersonator_id = UUID(default=None, null=True)


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
    """One thing that happened: who did it, to whom, how it ended, and why. Never a secret; triggers refuse changes.

    `hash` covers the row and the hash of the row before (see `audit_chain`). `origin` tells where the request came from
    and `note` what somebody wrote about it, both sealed with a person's key. `fields` is a JSON list of what was read.
    """

    id = UUID(primary_key=True, default=None)
    seq = BigInt(default=0)
    hash = Varchar(length=64)
    user_id = UUID(default=None, null=True, index=True)
    action = Varchar(length=64, index=True)
    timestamp = Timestamptz(default=None, index=True)
    outcome = Varchar(length=16)
    reason = Varchar(length=64, default="")
    actor = Varchar(length=128)
    impersonator = Varchar(length=128, default="")
    method = Varchar(length=32, default="")
    session_id = UUID(default=None, null=True)
    fields = Text(default="[]")
    purpose = Varchar(length=100, default="")
    origin = Text(default="", secret=True)
    note = Text(default="", secret=True)


class AuthRole(Table, tablename="auth_roles"):
    """A role and what it gives, a JSON list of permissions. The row of `admin` is there to be locked, no more."""

    name = Varchar(length=63, primary_key=True, default=None)
    description = Varchar(length=200, default="")
    permissions = Text(default="[]")
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)


class AuthRoleHolder(Table, tablename="auth_role_holders"):
    """A role that somebody holds; a pair is there once (see the migrations)."""

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False)
    role = Varchar(length=63, index=True)
    created_at = Timestamptz(default=None)


class AuthGrant(Table, tablename="auth_grants"):
    """What a person or a role (the other is null) is allowed or denied to do to a resource or to all of a kind."""

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=True, default=None)
    role = Varchar(length=63, null=True, default=None)
    permission = Varchar(length=64)
    resource = Varchar(length=200)
    effect = Varchar(length=8)
    granted_by = Varchar(length=128)
    created_at = Timestamptz(default=None)


class AuthApiKey(Table, tablename="auth_api_keys"):
    """An API key, by its SHA-256. `hint` is how it begins; `scopes` is a JSON list; `last_used_at` has whole hours."""

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    name = Varchar(length=100)
    token_hash = Varchar(length=64, unique=True)
    hint = Varchar(length=16)
    scopes = Text(default="[]")
    created_at = Timestamptz(default=None)
    expires_at = Timestamptz(default=None)
    last_used_at = Timestamptz(default=None, null=True)
    revoked_at = Timestamptz(default=None, null=True)


class TotpFactor(Table, tablename="auth_totp_factors"):
    """An app that shows one-time codes, by its sealed seed. It counts from `confirmed_at` on.

    `last_step` is the latest time step whose code was used; none counts up to it.
    """

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    seed = Text(default="", secret=True)
    last_step = BigInt(default=0)
    created_at = Timestamptz(default=None)
    confirmed_at = Timestamptz(default=None, null=True)


class RecoveryCode(Table, tablename="auth_recovery_codes"):
    """A recovery code, by its salted SHA-256."""

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    salt = Varchar(length=32)
    code_hash = Varchar(length=64)
    created_at = Timestamptz(default=None)
    used_at = Timestamptz(default=None, null=True)


class FactorChallenge(Table, tablename="auth_factor_challenges"):
    """A sign-in that waits for its second factor, by the SHA-256 of its token. `method` was the first factor.

    It goes on only at the `version` that the account had, and with the `client` that began it.
    """

    id = UUID(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    token_hash = Varchar(length=64, unique=True)
    version = Integer(default=1)
    method = Varchar(length=32)
    client = Varchar(length=16, default="token")
    created_at = Timestamptz(default=None)
    expires_at = Timestamptz(default=None, index=True)


class Throttle(Table, tablename="auth_throttles"):
    """How often something was tried, by the HMAC of whom it concerns. `state` is a JSON list of times.

    Times are Unix milliseconds: the next attempt may be made at `blocked_until_ms`, the row is gone at `expires_ms`.
    """

    key = Varchar(length=64, primary_key=True, default=None)
    state = Text(default="[]")
    blocked_until_ms = BigInt(default=0)
    expires_ms = BigInt(default=0, index=True)


class Flow(Table, tablename="auth_flows"):
    """One mailed step in progress: a link, a code, or only news. See `flows` for the kinds.

    Tokens and codes are kept as hashes. `secret` is what the mail still has to say, sealed until it has left; `payload`
    is what the step will do, sealed. `group_id` joins the two halves of a change of address; `session_id` is whose
    wish it was.
    """

    id = UUID(primary_key=True, default=None)
    kind = Varchar(length=32)
    user_id = UUID(default=None, null=True, index=True)
    email = Varchar(length=320)
    email_key = Varchar(length=1024, index=True)
    token_hash = Varchar(length=64, default=None, null=True, unique=True)
    code_hash = Varchar(length=64, default="")
    tries = Integer(default=0)
    group_id = UUID(default=None, null=True)
    session_id = UUID(default=None, null=True)
    redirect_to = Text(default="")
    secret = Text(default="", secret=True)
    payload = Text(default="", secret=True)
    created_at = Timestamptz(default=None)
    expires_at = Timestamptz(default=None, index=True)
    code_expires_at = Timestamptz(default=None, null=True)
    used_at = Timestamptz(default=None, null=True)


class AuditHead(Table, tablename="auth_audit_head"):
    """The end of the audit log, in one row with the id 1: whoever appends takes it first."""

    id = Integer(primary_key=True, default=None)
    seq = BigInt(default=0)
    hash = Varchar(length=64)


class PersonKey(Table, tablename="auth_person_keys"):
    """The sealed key of one person, empty once it was destroyed (see `person_keys`); `id` is the person's."""

    id = UUID(primary_key=True, default=None)
    sealed = Text(default="", secret=True)
    created_at = Timestamptz(default=None)


class SigningKey(Table, tablename="auth_signing_keys"):
    """One Ed25519 key that signs access tokens: its sealed secret and its public half, base64url.

    It signs from `signs_from` until the next one does, and is published until `verifies_until`, or for as long as it is
    the newest.
    """

    kid = Varchar(length=64, primary_key=True)
    sealed = Text(secret=True)
    public = Varchar(length=64)
    created_at = Timestamptz(default=None)
    signs_from = Timestamptz(default=None)
    verifies_until = Timestamptz(default=None, null=True)


class KeyringMark(Table, tablename="auth_keyring_mark"):
    """Fingerprints of the keyring that this database was written with, sealed with it, in one row with the id 1."""

    id = Integer(primary_key=True, default=None)
    sealed = Text(secret=True)


SEALED = (
    Sealed("auth_person_keys", "sealed"),
    Sealed("auth_signing_keys", "sealed", key="kid"),
    Sealed("auth_keyring_mark", "sealed"),
    Sealed("auth_flows", "payload"),
    Sealed("auth_totp_factors", "seed"),
)
"""What is encrypted anew when the keyring gets another key. Successors of refresh tokens live for seconds only."""
