"""What an account's owner does about passwords and addresses: the part of the contract `Auth` with the mailed steps."""

from __future__ import annotations

import abc
from uuid import UUID

import attrs

from orion_core.contract import raises
from orion_core.errors import Conflict, Invalid, TooMany
from orion_core.validators import is_email, matches, max_len
from orion_core.values import value

MAX_TOKEN = 128
_MAX_URL = 2000


@value
class ChangePassword:
    """The password an account has and the one it is to have, both exactly as typed."""

    current_password: str = attrs.field(repr=False)
    new_password: str = attrs.field(repr=False)


@value
class FreshAccess:
    """A new access token for a session whose earlier ones count no more. `expires_in` is in seconds."""

    access_token: str = attrs.field(repr=False)
    token_type: str = "Bearer"
    expires_in: int = 3600


@value
class ForgotPassword:
    """Whose password is forgotten. `redirect_to` is where the last page leads, one of the setting `auth.redirects`."""

    email: str = attrs.field(validator=is_email)
    redirect_to: str = attrs.field(default="", validator=max_len(_MAX_URL))


@value
class ResetPassword:
    """The mailed token and the password that the account is to have."""

    token: str = attrs.field(validator=max_len(MAX_TOKEN), repr=False)
    new_password: str = attrs.field(repr=False)


@value
class VerifyEmail:
    """Proof that mail to an address arrives: the token of the mailed link, or the mailed code with its flow's id."""

    token: str = attrs.field(default="", validator=max_len(MAX_TOKEN), repr=False)
    flow_id: UUID | None = None
    code: str = attrs.field(default="", validator=matches("[0-9]{0,6}", "must have 6 digits"), repr=False)


@value
class ResendVerification:
    """The address that is to be verified. `redirect_to` is as in `ForgotPassword`.

    A registration that waits for its address is known by its `flow_id` only, so that nobody confirms another's.
    """

    email: str = attrs.field(validator=is_email)
    flow_id: UUID | None = None
    redirect_to: str = attrs.field(default="", validator=max_len(_MAX_URL))


@value
class Pending:
    """A step by mail has begun, or nothing has: the answer is the same. A mailed code counts with this id only."""

    flow_id: UUID


@value
class StepDone:
    """A mailed step is done; `redirect_to` is where it leads, as it was asked for at its beginning."""

    redirect_to: str = ""


@value
class Verified:
    """An address that was verified. `redirect_to` is as in `StepDone`."""

    email: str
    redirect_to: str = ""


@value
class ChangeEmail:
    """The address that an account is to have, and its password. `redirect_to` is as in `ForgotPassword`."""

    new_email: str = attrs.field(validator=is_email)
    password: str = attrs.field(repr=False)
    redirect_to: str = attrs.field(default="", validator=max_len(_MAX_URL))


@value
class EmailChange:
    """How far a change of address is: `changed` is false until the old and the new address have both confirmed it.

    `redirect_to` is as in `StepDone`.
    """

    changed: bool
    redirect_to: str = ""


@value
class MailedToken:
    """A token as a mailed link holds it."""

    token: str = attrs.field(validator=max_len(MAX_TOKEN), repr=False)


class WrongPassword(Invalid):
    """The password that was to confirm a change is wrong, or too many wrong ones came before it."""

    code = "auth.wrong_password"


class PasswordRefused(Invalid):
    """A new password that is too short or too easily guessed; the field's code says why."""

    code = "auth.password_refused"


class TooManyAttempts(TooMany):
    """Too many sign-ins failed from one network address."""

    code = "auth.too_many_attempts"


class TooManyMails(TooMany):
    """Too many mails were asked for by one network address, or to one mailbox."""

    code = "auth.too_many_mails"


class InvalidToken(Invalid):
    """The mailed token is unknown, used, outdated or expired; which one is never told."""

    code = "auth.invalid_token"


class InvalidCode(Invalid):
    """The mailed code is wrong, of another flow, used or expired, or was tried too often; which one is never told."""

    code = "auth.invalid_code"


class AddressTaken(Conflict):
    """Meanwhile another account has the address."""

    code = "auth.address_taken"


class AccountOperations(abc.ABC):
    """Passwords and addresses of accounts.

    Tokens of mailed links have 256 random bits and count once; the newest replaces the others of its kind. What asks
    for mail never tells whether there is an account.
    """

    @raises(WrongPassword, PasswordRefused, TooManyAttempts)
    @abc.abstractmethod
    async def change_password(self, data: ChangePassword) -> FreshAccess:
        """Give the caller another password, end their other sessions and all mailed steps in progress.

        Every access token issued so far is refused, so the caller gets a new one; their refresh token goes on.
        """

    @raises(TooManyMails)
    @abc.abstractmethod
    async def forgot_password(self, data: ForgotPassword) -> None:
        """Mail a link that resets the password, if there is an account; it lives 30 minutes unless set otherwise."""

    @raises(InvalidToken, PasswordRefused)
    @abc.abstractmethod
    async def reset_password(self, data: ResetPassword) -> StepDone:
        """Spend a mailed token for another password. Ends all sessions of the account and opens none."""

    @raises(InvalidToken, InvalidCode, AddressTaken)
    @abc.abstractmethod
    async def verify_email(self, data: VerifyEmail) -> Verified:
        """Spend the mailed token or code: the address is verified, or the account that waited for it opens."""

    @raises(TooManyMails)
    @abc.abstractmethod
    async def resend_verification(self, data: ResendVerification) -> Pending:
        """Mail link and code once more, if an account or a registration waits for them."""

    @raises(WrongPassword, TooManyAttempts, TooManyMails)
    @abc.abstractmethod
    async def change_email(self, data: ChangeEmail) -> None:
        """Ask the caller's present address and the new one for their consent; the newest wish replaces others."""

    @raises(InvalidToken, AddressTaken)
    @abc.abstractmethod
    async def confirm_email_change(self, data: MailedToken) -> EmailChange:
        """Spend one of the two mailed tokens; the second one changes the address.

        Then the sessions end, but the one that asked, and the old address gets a link to undo it.
        """

    @raises(InvalidToken, AddressTaken)
    @abc.abstractmethod
    async def revert_email_change(self, data: MailedToken) -> StepDone:
        """Give the account its old address back: ends all sessions, closes the password, and mails a link to reset."""


__all__ = [
    "MAX_TOKEN",
    "AccountOperations",
    "AddressTaken",
    "ChangeEmail",
    "ChangePassword",
    "EmailChange",
    "ForgotPassword",
    "FreshAccess",
    "InvalidCode",
    "InvalidToken",
    "MailedToken",
    "PasswordRefused",
    "Pending",
    "ResendVerification",
    "ResetPassword",
    "StepDone",
    "TooManyAttempts",
    "TooManyMails",
    "Verified",
    "VerifyEmail",
    "WrongPassword",
]
