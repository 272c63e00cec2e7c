"""What the service of auth is made of, as far as it is about passwords and addresses, put together in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import attrs

from orion_core.contracts.auth_accounts import (
    AccountOperations,
    ChangeEmail,
    ChangePassword,
    EmailChange,
    ForgotPassword,
    FreshAccess,
    MailedToken,
    Pending,
    ResendVerification,
    ResetPassword,
    StepDone,
    Verified,
    VerifyEmail,
)
from orion_core.contracts.auth_factors import (
    FactorCode,
    FactorOperations,
    Factors,
    RecoveryCodes,
    TotpEnrolment,
)
from orion_core.contracts.notifications import Notifications
from orion_core.events import Events
from orion_core.jobs import Jobs
from orion_core.keyring import Keyring
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.settings import Settings
from orion_plugins.auth.accounts import Accounts
from orion_plugins.auth.attempts import MailLimits, SignInLimits
from orion_plugins.auth.breached_passwords import BreachedPasswords
from orion_plugins.auth.email_changes import EmailChanges
from orion_plugins.auth.email_steps import EmailSteps
from orion_plugins.auth.factors import FactorPart, SignInFactors
from orion_plugins.auth.flow_mails import FlowMails
from orion_plugins.auth.flows import Flows
from orion_plugins.auth.hashing import HashingPool
from orion_plugins.auth.new_passwords import Passwords
from orion_plugins.auth.password_policy import PasswordPolicy
from orion_plugins.auth.password_steps import PasswordSteps
from orion_plugins.auth.sessions import Sessions
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.throttles import Throttles
from orion_plugins.auth.tokens import Grant


@attrs.frozen(kw_only=True, eq=False)
class AccountParts:
    """The parts, each in a file of its own."""

    throttles: Throttles
    limits: SignInLimits
    flows: Flows
    mails: FlowMails
    accounts: Accounts
    passwords: Passwords
    password_steps: PasswordSteps
    email_steps: EmailSteps
    email_changes: EmailChanges
    sign_in_factors: SignInFactors
    factors: FactorPart


def account_parts(
    *,
    db: Database,
    events: Events,
    jobs: Jobs,
    clock: Clock,
    keyring: Keyring,
    notifications: Notifications,
    settings: AuthSettings,
    platform: Settings,
    sessions: Sessions,
    hashing: HashingPool,
    mail_flow: Callable[[UUID], Awaitable[None]],
    issue: Callable[[Grant], Awaitable[FreshAccess]],
) -> AccountParts:
    """Put the parts together. `mail_flow` is the job that has a mail sent, `issue` makes an access token."""
    throttles = Throttles(db, keyring)
    limits, mailing = SignInLimits(throttles, settings), MailLimits(throttles, settings)
    flows = Flows(db, jobs, keyring, settings, mail_flow)
    accounts = Accounts(events, flows, sessions)
    breached = BreachedPasswords(settings.breached_passwords) if settings.breached_passwords else None
    passwords = Passwords(db, hashing, keyring, PasswordPolicy(settings.product, breached), limits)
    sign_in_factors = SignInFactors(
        db=db, clock=clock, keyring=keyring, accounts=accounts, sessions=sessions, throttles=throttles
    )
    return AccountParts(
        throttles=throttles,
        limits=limits,
        flows=flows,
        mails=FlowMails(flows, notifications, settings, platform),
        accounts=accounts,
        passwords=passwords,
        password_steps=PasswordSteps(db, clock, settings, accounts, passwords, flows, mailing, issue),
        email_steps=EmailSteps(db, clock, settings, accounts, flows, mailing),
        email_changes=EmailChanges(db, events, clock, settings, accounts, passwords, flows, mailing),
        sign_in_factors=sign_in_factors,
        factors=FactorPart(
            db=db,
            clock=clock,
            keyring=keyring,
            settings=settings,
            accounts=accounts,
            flows=flows,
            signing_in=sign_in_factors,
        ),
    )


class AccountService(AccountOperations, FactorOperations):
    """Hands each operation to its part."""

    _accounts: AccountParts

    async def change_password(self, data: ChangePassword) -> FreshAccess:
        return await self._accounts.password_steps.change(data)

    async def forgot_password(self, data: ForgotPassword) -> None:
        await self._accounts.password_steps.forgot(data)

    async def reset_password(self, data: ResetPassword) -> StepDone:
        return await self._accounts.password_steps.reset(data)

    async def verify_email(self, data: VerifyEmail) -> Verified:
        return await self._accounts.email_steps.verify(data)

    async def resend_verification(self, data: ResendVerification) -> Pending:
        return await self._accounts.email_steps.resend(data)

    async def change_email(self, data: ChangeEmail) -> None:
        await self._accounts.email_changes.ask(data)

    async def confirm_email_change(self, data: MailedToken) -> EmailChange:
        return await self._accounts.email_changes.confirm(data)

    async def revert_email_change(self, data: MailedToken) -> StepDone:
        return await self._accounts.email_changes.revert(data)

    async def factors(self) -> Factors:
        return await self._accounts.factors.mine()

    async def enrol_totp(self) -> TotpEnrolment:
        return await self._accounts.factors.enrol()

    async def confirm_totp(self, data: FactorCode) -> RecoveryCodes:
        return await self._accounts.factors.confirm(data)

    async def remove_totp(self) -> None:
        await self._accounts.factors.remove()

    async def renew_recovery_codes(self) -> RecoveryCodes:
        return await self._accounts.factors.renew_codes()

    async def reset_factors(self, user_id: UUID) -> None:
        await self._accounts.factors.reset(user_id)
