"""Limits on what strangers may try: sign-ins by account and by network address, and mails by mailbox and by address."""

from __future__ import annotations

import functools
from datetime import datetime

import attrs

from orion_core.contracts.auth_accounts import TooManyAttempts, TooManyMails
from orion_plugins.auth.audit import client_ip
from orion_plugins.auth.emails import Address
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.throttle_rules import failure, mail
from orion_plugins.auth.throttles import Throttles, network

_LONGEST_SUBJECT = 320


@attrs.frozen
class Attempt:
    """One sign-in by its counters: that of the account, and that of the network address if there is one."""

    account: str
    network: str


class SignInLimits:
    """Makes failed sign-ins wait. An account is never closed by them, and a right password too early does not count.

    Passwords are compared before anything is counted: that takes long, and right ones of one person may come at once.
    So it is decided in the transaction that follows whether the comparison counts, one attempt after the other.
    """

    def __init__(self, throttles: Throttles, settings: AuthSettings) -> None:
        self._throttles = throttles
        self._account = functools.partial(failure, settings.failures_per_account)
        self._network = functools.partial(failure, settings.failures_per_address)

    def attempt(self, key: str) -> Attempt:
        """The attempt of the current request on the account that `key` stands for, whether or not there is one."""
        source = network(client_ip())
        return Attempt(
            self._throttles.key("sign-in|account", key[:_LONGEST_SUBJECT]),
            self._throttles.key("sign-in|network", source) if source else "",
        )

    async def admit(self, attempt: Attempt, now: datetime) -> bool:
        """Whether the account may be tried now; if not, the comparison is made all the same, and does not count.

        Raises `TooManyAttempts` when the network address has to wait: then not even the comparison is made.
        """
        if attempt.network and (wait := await self._throttles.wait(attempt.network, now)):
            raise _too_many(wait)
        return await self._throttles.wait(attempt.account, now) == 0

    async def failed(self, attempt: Attempt, now: datetime) -> TooManyAttempts | None:
        """Count a failure, in the running transaction; what to answer if the network address has to wait."""
        if attempt.network and (wait := await self._throttles.count(attempt.network, self._network, now)):
            return _too_many(wait)
        await self._throttles.count(attempt.account, self._account, now)
        return None

    async def succeeded(self, attempt: Attempt, now: datetime) -> bool:
        """Forget the failures of the account, in the running transaction; False when it has to wait.

        Raises `TooManyAttempts` when the network address has to.
        """
        return await self.admit(attempt, now) and await self._throttles.clear(attempt.account, now)

    async def forgive(self, attempt: Attempt) -> None:
        """Forget the failures of the account, even while it has to wait."""
        await self._throttles.forget(attempt.account)


class MailLimits:
    """Limits the mail that one network address may ask for, and that one mailbox may get."""

    def __init__(self, throttles: Throttles, settings: AuthSettings) -> None:
        self._throttles = throttles
        self._rule = functools.partial(mail, settings.mails_per_minute, settings.mails_per_hour)

    async def count(self, now: datetime, *mailboxes: Address) -> None:
        """Count one mail to each of `mailboxes`, in the running transaction; raises `TooManyMails`.

        Whether there are accounts with these addresses makes no difference.
        """
        keys = {self._throttles.key("mail|mailbox", each.key) for each in mailboxes}
        if source := network(client_ip()):
            keys.add(self._throttles.key("mail|network", source))
        # In one order, so that no two wait for each other.
        for key in sorted(keys):
            if wait := await self._throttles.count(key, self._rule, now):
                raise TooManyMails("too many mails were asked for: wait, then try again", retry_after=wait / 1000)


def _too_many(wait_ms: int) -> TooManyAttempts:
    return TooManyAttempts("too many sign-ins failed: wait, then try again", retry_after=wait_ms / 1000)
