"""Second factors: one-time codes of an app (RFC 6238) and recovery codes. A part of the contract `Auth`."""

from __future__ import annotations

import abc
from uuid import UUID

import attrs

from orion_core.contract import raises, repeatable
from orion_core.errors import Conflict, Forbidden, Invalid, NotFound, TooMany, Unauthenticated
from orion_core.validators import max_len
from orion_core.values import value

MAX_CODE = 64


@value
class MfaChallenge:
    """The password was right, and a second factor is asked for: `mfa_token` goes to `Auth.verify_factor` with a code.

    The token counts once, for `expires_in` seconds. `methods` are ``totp`` and ``recovery``, as far as there are any.
    """

    mfa_token: str = attrs.field(repr=False)
    methods: tuple[str, ...]
    expires_in: int = 300


@value
class VerifyFactor:
    """The token of an `MfaChallenge`, and a code: 6 digits of the app, or a recovery code as it was shown."""

    mfa_token: str = attrs.field(validator=max_len(128), repr=False)
    code: str = attrs.field(validator=max_len(MAX_CODE), repr=False)


@value
class FactorCode:
    """The 6 digits that the app shows."""

    code: str = attrs.field(validator=max_len(MAX_CODE), repr=False)


@value
class Factors:
    """The caller's second factors: whether codes of an app are asked for, and how many recovery codes are left."""

    totp: bool
    recovery_codes_left: int


@value
class TotpEnrolment:
    """A seed that waits for its first code: base32, and as the ``otpauth:`` address that apps read. Shown once."""

    secret: str = attrs.field(repr=False)
    uri: str = attrs.field(repr=False)


@value
class RecoveryCodes:
    """Ten codes that each stand in for the app once. Shown once; earlier ones count no more."""

    codes: tuple[str, ...] = attrs.field(repr=False)


class InvalidMfaToken(Unauthenticated):
    """The token of the challenge is unknown, used or expired; which one is never told. Sign in again."""

    code = "auth.invalid_mfa_token"


class SecondFactorNeeded(Unauthenticated):
    """The password was right, and this way of signing in takes no second factor."""

    code = "auth.second_factor_needed"


class WrongFactorCode(Invalid):
    """The code is wrong, was used before, or its time is over; which one is never told."""

    code = "auth.wrong_factor_code"


class TooManyFactorTries(TooMany):
    """Five codes were tried within five minutes, over all sessions."""

    code = "auth.too_many_factor_tries"


class NoSuchFactor(NotFound):
    """The caller has no such factor, or none that waits for its first code."""

    code = "auth.no_such_factor"


class FactorRequired(Conflict):
    """This account has to keep a second factor: enrol another app, which replaces this one."""

    code = "auth.factor_required"


class SignInTooOld(Forbidden):
    """The caller signed in more than ten minutes ago: sign in again, then ask again with the new token."""

    code = "auth.sign_in_too_old"


class FactorOperations(abc.ABC):
    """Second factors of the caller, who has signed in within the last ten minutes to change any.

    A change ends the other sessions and every sign-in that waits for its second factor, and is told by mail.
    """

    @repeatable
    @abc.abstractmethod
    async def factors(self) -> Factors:
        """The caller's factors."""

    @raises(SignInTooOld)
    @abc.abstractmethod
    async def enrol_totp(self) -> TotpEnrolment:
        """Make a seed for an app. It counts once `confirm_totp` was given a code, and replaces an earlier one then."""

    @raises(SignInTooOld, NoSuchFactor, WrongFactorCode, TooManyFactorTries)
    @abc.abstractmethod
    async def confirm_totp(self, data: FactorCode) -> RecoveryCodes:
        """Ask for codes of the app from now on; answers new recovery codes."""

    @raises(SignInTooOld, NoSuchFactor, FactorRequired)
    @abc.abstractmethod
    async def remove_totp(self) -> None:
        """Ask for no codes any more; the recovery codes go too."""

    @raises(SignInTooOld, NoSuchFactor)
    @abc.abstractmethod
    async def renew_recovery_codes(self) -> RecoveryCodes:
        """Ten new recovery codes in place of those that are left."""

    @repeatable
    @abc.abstractmethod
    async def reset_factors(self, user_id: UUID) -> None:
        """Remove all factors of somebody who is locked out; needs `accounts:manage`, and all that the account may do.

        Raises `NotFound` when there is no such account. Their sessions end; the password stays.
        """
