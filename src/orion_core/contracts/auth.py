"""Accounts, sessions and tokens."""

from __future__ import annotations

import abc
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.contracts.auth_access import AccessOperations
from orion_core.contracts.auth_accounts import (
    AccountOperations,
    PasswordRefused,
    Pending,
    TooManyAttempts,
    TooManyMails,
)
from orion_core.contracts.auth_api_keys import ApiKeyOperations
from orion_core.contracts.auth_audit import AuditOperations
from orion_core.contracts.auth_factors import (
    FactorOperations,
    InvalidMfaToken,
    MfaChallenge,
    SecondFactorNeeded,
    TooManyFactorTries,
    VerifyFactor,
    WrongFactorCode,
)
from orion_core.contracts.auth_impersonation import ImpersonationOperations
from orion_core.contracts.auth_keys import KeyOperations
from orion_core.contracts.auth_sessions import Client, SessionsOperations
from orion_core.errors import Conflict, Invalid, Unauthenticated, Unavailable
from orion_core.events import event
from orion_core.validators import is_email, is_plain, max_len, min_len
from orion_core.values import value

AUDIENCE = "orion"
"""The `aud` of every access token."""


@value
class Register:
    """A new account. The password is taken exactly as typed; the name is what the person wants to be called.

    `redirect_to` is where the page of a mailed link leads, one of the setting `auth.redirects`.
    """

    email: str = attrs.field(validator=is_email)
    password: str = attrs.field(validator=min_len(8), repr=False)
    name: str = attrs.field(default="", validator=[max_len(200), is_plain])
    redirect_to: str = attrs.field(default="", validator=max_len(2000))


@value
class Login:
    """Credentials of an existing account."""

    email: str = attrs.field(validator=max_len(1024))
    password: str = attrs.field(repr=False)


@value
class Account:
    """An account as others may see it."""

    id: UUID
    email: str


@value
class Tokens:
    """What a successful registration, login or refresh answers. `expires_in` is in seconds."""

    user: Account
    access_token: str = attrs.field(repr=False)
    refresh_token: str = attrs.field(repr=False)
    token_type: str = "Bearer"
    expires_in: int = 3600


@value
class SignIn:
    """What right credentials led to: a session, or the question for a second factor."""

    tokens: Tokens | None = None
    challenge: MfaChallenge | None = None


@value
class Registration:
    """What a wish for an account led to: it is open and signed in, or it waits for its address to be verified."""

    tokens: Tokens | None = None
    pending: Pending | None = None


@value
class Access:
    """What a session may do now. `active` is false once it was revoked, has ended or its account is closed.

    `granted` says that there are grants on single resources to the person or their roles.
    """

    active: bool
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    granted: bool = False


@value
class Me:
    """The caller's account, roles and permissions. `impersonator` is who acts as them: show a banner then."""

    id: UUID
    email: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    impersonator: UUID | None = None


@value
class PublicKey:
    """One signing key's public half, as the members of an RFC 8037 JWK."""

    kid: str
    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    alg: str = "EdDSA"
    use: str = "sig"


class EmailTaken(Conflict):
    """There is an account with this address."""

    code = "auth.email_taken"


class InvalidCredentials(Unauthenticated):
    """The address or the password is wrong; which one is never told."""

    code = "auth.invalid_credentials"


class InvalidGrant(Invalid):
    """The refresh token is unknown, spent, expired or revoked; which one is never told. Answers 400 (RFC 6749, 5.2)."""

    status = 400
    title = "Invalid grant"
    code = "auth.invalid_grant"


class PasswordTooLong(Invalid):
    """A new password of more than 1,024 bytes."""

    code = "auth.password_too_long"


class HashingBusy(Unavailable):
    """More passwords wait to be hashed than the queue holds."""

    code = "auth.busy"


@event("user.registered", version=1, subject="user_id", heard=True)
class UserRegistered:
    """Somebody opened an account. Owned by auth; the family `user` is the overview's."""

    user_id: UUID
    email: str
    name: str
    registered_at: datetime


@event("user.email_changed", version=1, subject="user_id")
class UserEmailChanged:
    """An account has another address; `version` is the account's, so that an older change never undoes a newer one."""

    user_id: UUID
    email: str
    version: int
    changed_at: datetime


@event("auth.session_started", version=1, subject="session_id")
class SessionStarted:
    """Somebody signed in."""

    session_id: UUID
    user_id: UUID
    method: str
    started_at: datetime


@event("auth.session_revoked", version=1, subject="session_id")
class SessionRevoked:
    """A session ended before its time: its access tokens count no more."""

    session_id: UUID
    user_id: UUID
    reason: str


@event("auth.refresh_reuse_detected", version=1, subject="session_id")
class RefreshReuseDetected:
    """A refresh token came that had been spent, so its session was ended: somebody may hold a copy.

    `ip_address` is where it came from, `session_ip_address` where the session was opened; empty if not known.
    """

    session_id: UUID
    user_id: UUID
    email: str
    ip_address: str
    session_ip_address: str
    detected_at: datetime


@event("auth.access_changed", version=1, subject="user_id")
class AccessChanged:
    """Roles or permissions of an account changed: what was cached about it counts no more."""

    user_id: UUID


class Auth(
    AccessOperations,
    AccountOperations,
    ApiKeyOperations,
    AuditOperations,
    FactorOperations,
    KeyOperations,
    ImpersonationOperations,
    SessionsOperations,
    Contract,
    name="auth",
):
    """Accounts, sessions and tokens.

    Tokens are JWTs signed with Ed25519; every service verifies them by itself with `keys` and `access`.
    """

    @raises(EmailTaken, PasswordTooLong, PasswordRefused, HashingBusy)
    @abc.abstractmethod
    async def register(self, data: Register) -> Account:
        """Open an account and publish `user.registered`; for programs that know the person, whatever the settings."""

    @raises(EmailTaken, PasswordTooLong, PasswordRefused, HashingBusy)
    @abc.abstractmethod
    async def sign_up(self, data: Register, client: Client = "token") -> Tokens:
        """Open an account as `register` does, and a session with it whose refresh tokens `client` keeps."""

    @raises(EmailTaken, PasswordTooLong, PasswordRefused, TooManyMails, HashingBusy)
    @abc.abstractmethod
    async def request_account(self, data: Register, client: Client = "token") -> Registration:
        """Do what the setting `auth.registration` says for strangers: `sign_up`, or verify the address first.

        In the second case the answer is the same for a new address and for a taken one, whose owner is told by mail.
        """

    @raises(InvalidCredentials, TooManyAttempts, HashingBusy, SecondFactorNeeded)
    @abc.abstractmethod
    async def login(self, data: Login, client: Client = "token") -> Tokens:
        """Open a session whose refresh tokens `client` keeps.

        Every refusal is the same `InvalidCredentials` and costs one hashing. Who has a second factor gets no session by
        this: `SecondFactorNeeded`, use `sign_in`.
        """

    @raises(InvalidCredentials, TooManyAttempts, HashingBusy)
    @abc.abstractmethod
    async def sign_in(self, data: Login, client: Client = "token") -> SignIn:
        """Open a session as `login` does, or ask for the second factor of who has one."""

    @raises(InvalidMfaToken, WrongFactorCode, TooManyFactorTries)
    @abc.abstractmethod
    async def verify_factor(self, data: VerifyFactor, client: Client = "token") -> Tokens:
        """Open the session that a challenge of `sign_in` stands for; `client` is the one that signed in."""

    @raises(InvalidGrant)
    @abc.abstractmethod
    async def refresh(self, refresh_token: str, client: Client = "token") -> Tokens:
        """Spend a refresh token for a new pair of the same session.

        A token that was spent a moment ago, within the grace window, gives the same pair again: the first answer may
        have been lost. Spent longer ago, it ends the session and publishes `auth.refresh_reuse_detected`. One that
        another kind of client brings, or another person who is signed in, is refused and changes nothing.
        """

    @repeatable
    @abc.abstractmethod
    async def logout(self, refresh_token: str) -> None:
        """End the caller's session, and that of the refresh token unless it is empty; never tells there was none."""

    @repeatable
    @abc.abstractmethod
    async def me(self) -> Me:
        """The caller; raises `Unauthenticated` when that is no person."""

    @repeatable
    @abc.abstractmethod
    async def keys(self) -> tuple[PublicKey, ...]:
        """The public keys whose signatures count now."""

    @repeatable
    @abc.abstractmethod
    async def access(self, session_id: UUID, version: int) -> Access:
        """What the session may do now; `version` is the account's epoch in the token."""

    @raises(EmailTaken, PasswordTooLong, PasswordRefused, HashingBusy)
    @abc.abstractmethod
    async def create_admin(self, data: Register) -> Account:
        """Open an account with the role `admin`, or give that role to the existing one (its password stays).

        For the system itself: raises `Forbidden` for every other caller.
        """
