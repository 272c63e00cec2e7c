"""Signing in with an account elsewhere: OpenID Connect, and GitHub's OAuth 2.0. A part of the contract `Auth`.

Tokens never stand in an address: what comes back through the browser is a code that counts once, with its cookie only.
"""

from __future__ import annotations

import abc
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import attrs

from orion_core.contract import raises, repeatable
from orion_core.contracts.auth_accounts import TooManyAttempts, WrongPassword
from orion_core.contracts.auth_sessions import Client
from orion_core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from orion_core.validators import max_len
from orion_core.values import value

if TYPE_CHECKING:
    from orion_core.contracts.auth import Tokens


@value
class OidcProviderInfo:
    """A provider that people may sign in with; `kind` is google, github, microsoft or generic."""

    name: str
    kind: str


@value
class OidcProviderList:
    """The providers of this deployment, by name."""

    items: tuple[OidcProviderInfo, ...]


@value
class OidcStart:
    """A sign-in that begins. `browser` is what the browser's cookie holds, empty if it has none."""

    provider: str = attrs.field(validator=max_len(64))
    redirect_to: str = attrs.field(default="", validator=max_len(2000))
    browser: str = attrs.field(default="", validator=max_len(128), repr=False)


@value
class OidcRedirect:
    """Where the browser has to go, and what its cookie has to hold."""

    url: str = attrs.field(repr=False)
    browser: str = attrs.field(repr=False)


@value
class OidcCallback:
    """What the provider sent the browser back with (RFC 6749, 4.1.2, and RFC 9207)."""

    provider: str = attrs.field(validator=max_len(64))
    browser: str = attrs.field(default="", validator=max_len(128), repr=False)
    state: str = attrs.field(default="", validator=max_len(128), repr=False)
    code: str = attrs.field(default="", validator=max_len(4096), repr=False)
    iss: str = attrs.field(default="", validator=max_len(2000))
    error: str = attrs.field(default="", validator=max_len(200))


@value
class OidcReturn:
    """The provider has vouched. `code` is for `exchange_oidc`, within two minutes; empty when one was linked."""

    redirect_to: str = ""
    code: str = attrs.field(default="", repr=False)


@value
class OidcExchange:
    """The code of an `OidcReturn`. `password` confirms that an account with the same address is one's own."""

    code: str = attrs.field(validator=max_len(128), repr=False)
    password: str = attrs.field(default="", validator=max_len(1024), repr=False)


@value
class OidcIdentity:
    """An account elsewhere that signs in to the caller's account."""

    id: UUID
    provider: str
    issuer: str
    created_at: datetime
    last_used_at: datetime


@value
class OidcIdentityList:
    """All of the caller's, oldest first."""

    items: tuple[OidcIdentity, ...]


class NoSuchProvider(NotFound):
    """No provider of this name is set up."""

    code = "auth.no_such_provider"


class ProviderUnavailable(Unavailable):
    """The provider did not answer, or not as it should."""

    code = "auth.provider_unavailable"


class OidcRefused(Unauthenticated):
    """The answer that came through the browser does not count; why is in the audit log."""

    code = "auth.oidc_refused"


class InvalidOidcCode(Invalid):
    """The code is unknown, spent, too old or another browser's; which one is never told. Answers 400."""

    status = 400
    title = "Invalid code"
    code = "auth.invalid_oidc_code"


class OidcEmailUnverified(Forbidden):
    """The provider does not say that the person's address is verified, so no account opens with it."""

    code = "auth.oidc_email_unverified"


class ConfirmationNeeded(Conflict):
    """There is an account with this address: its password has to confirm. The code still counts."""

    code = "auth.oidc_confirmation_needed"


class LinkRefused(Conflict):
    """There is an account with this address that this sign-in may not have: sign in to it, then link."""

    code = "auth.oidc_link_refused"


class IdentityTaken(Conflict):
    """The account elsewhere signs in to another account already."""

    code = "auth.identity_taken"


class NoSuchIdentity(NotFound):
    """The caller has no identity with this id."""

    code = "auth.no_such_identity"


class LastSignIn(Conflict):
    """Nobody could sign in to the account any more: choose a password first."""

    code = "auth.last_sign_in"


class OidcOperations(abc.ABC):
    """Signing in with accounts elsewhere. An identity is (`iss`, `sub`); an address never is one."""

    @repeatable
    @abc.abstractmethod
    async def oidc_providers(self) -> OidcProviderList:
        """The providers that are set up."""

    @raises(NoSuchProvider, ProviderUnavailable)
    @abc.abstractmethod
    async def begin_oidc(self, data: OidcStart) -> OidcRedirect:
        """Begin a sign-in; raises `Invalid` for a `redirect_to` that the setting `auth.redirects` does not list."""

    @raises(NoSuchProvider, ProviderUnavailable)
    @abc.abstractmethod
    async def begin_oidc_link(self, data: OidcStart) -> OidcRedirect:
        """Begin to link an account elsewhere to the caller's own; raises `Unauthenticated` when that is no person."""

    @raises(NoSuchProvider, ProviderUnavailable, OidcRefused, IdentityTaken)
    @abc.abstractmethod
    async def finish_oidc(self, data: OidcCallback) -> OidcReturn:
        """Check what the provider sent back, ask it who it is, and link, or give a code for `exchange_oidc`."""

    @raises(
        InvalidOidcCode,
        OidcRefused,
        OidcEmailUnverified,
        ConfirmationNeeded,
        LinkRefused,
        WrongPassword,
        TooManyAttempts,
    )
    @abc.abstractmethod
    async def exchange_oidc(self, data: OidcExchange, browser: str, client: Client = "token") -> Tokens:
        """Sign in with a code, in the browser that began. Opens an account for an address that nobody has.

        An account whose address was never verified passes to the person whose address the provider has verified: its
        password, sessions, keys and other identities go. One that is verified needs its password, once.
        """

    @repeatable
    @abc.abstractmethod
    async def oidc_identities(self) -> OidcIdentityList:
        """The caller's identities."""

    @raises(NoSuchIdentity, LastSignIn)
    @abc.abstractmethod
    async def unlink_oidc(self, identity_id: UUID) -> None:
        """Forget an identity of the caller, and end the caller's other sessions; never the last way to sign in."""
