"""The kinds of mailed steps: which mail each sends, where its link leads, and how long that counts."""

from __future__ import annotations

from datetime import timedelta

import attrs

from orion_plugins.auth.settings import AuthSettings


@attrs.frozen
class Kind:
    """One kind of step. Without a `path` it is only news; without a `template` there is not even a mail.

    `ttl` names the setting with the life of the link; `code` says that the mail has a code as well.
    """

    name: str
    template: str = ""
    path: str = ""
    ttl: str = "verification_ttl"
    code: bool = False

    def life(self, settings: AuthSettings) -> timedelta:
        """How long the link counts."""
        found: timedelta = getattr(settings, self.ttl)
        return found


RESET = Kind("reset", "password_reset", "/password/reset", ttl="reset_ttl")
VERIFY = Kind("verify", "email_verification", "/email/verify", code=True)
REGISTRATION = Kind("registration", "email_verification", "/email/verify", code=True)
CONSENT = Kind("change_old", "email_change_consent", "/email/change/confirm")
CONFIRMATION = Kind("change_new", "email_change_confirmation", "/email/change/confirm")
REVERT = Kind("revert", "email_changed", "/email/change/revert", ttl="revert_ttl")
PASSWORD_CHANGED = Kind("password_changed", "password_changed")
FACTORS_CHANGED = Kind("factors_changed", "factors_changed")
ACCOUNT_EXISTS = Kind("account_exists", "account_exists")
NOTHING = Kind("nothing")
"""Nobody gets a mail, and whoever asked cannot tell."""

IN_PROGRESS = (RESET, VERIFY, CONSENT, CONFIRMATION)
"""What ends when an account changes. The way back to an earlier address stays: a thief would change more than that."""

KINDS = {
    kind.name: kind
    for kind in (
        RESET,
        VERIFY,
        REGISTRATION,
        CONSENT,
        CONFIRMATION,
        REVERT,
        PASSWORD_CHANGED,
        FACTORS_CHANGED,
        ACCOUNT_EXISTS,
        NOTHING,
    )
}
