"""Mail: hands a finished message to whoever delivers it.

Guarantees: when `send` returns, the provider has the message and the caller may forget it. A connection lost after the
provider took the message may lead to a second copy with the same Message-ID.
"""

from __future__ import annotations

from email.message import EmailMessage
from typing import Protocol

from orion_core.errors import Error, Unavailable
from orion_core.ports.check import Check


class MailUnavailable(Unavailable):
    """The provider is away or asks to try later (SMTP 4xx, a timeout): send again."""

    code = "mail.unavailable"
    private = True


class MailRefused(Error):
    """The provider refuses this message or recipient for good (SMTP 5xx)."""

    status = 422
    title = "Mail refused"
    code = "mail.refused"


class Mail(Protocol):
    """Sends one message at a time."""

    async def send(self, message: EmailMessage) -> None:
        """Hand over `message`, whose From, To, Subject and Message-ID are set.

        Raises `MailUnavailable` when it may be tried again and `MailRefused` when not.
        """
        ...

    async def check(self) -> Check:
        """``pass``, or ``warn`` with the reason: mail waits in jobs."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
