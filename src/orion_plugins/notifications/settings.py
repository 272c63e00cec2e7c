"""Settings of notifications: ``ORION_NOTIFICATIONS_*``."""

from __future__ import annotations

from email.headerregistry import Address
from typing import Any

import attrs

from orion_plugins.notifications.mails import parse_sender

_MOST_DAYS = 36_500


def _is_sender(_: Any, field: attrs.Attribute[str], given: str) -> None:
    try:
        parse_sender(given)
    except ValueError as error:
        raise ValueError(f"{field.name} must be like 'Shop <no-reply@example.org>', not {given!r}: {error}") from error


def _is_days(_: Any, field: attrs.Attribute[int], given: int) -> None:
    if not 1 <= given <= _MOST_DAYS:
        raise ValueError(f"{field.name} must be from 1 to {_MOST_DAYS}, not {given}")


@attrs.frozen(kw_only=True)
class NotificationsSettings:
    """Who sends, and for how long it is kept."""

    mail_from: str = attrs.field(
        default="ORION <no-reply@localhost>",
        validator=_is_sender,
        metadata={"help": "sender of mail; its name is what the messages call the product"},
    )
    retention_days: int = attrs.field(
        default=400, validator=_is_days, metadata={"help": "days after which notices and deliveries are removed"}
    )

    @property
    def sender(self) -> Address:
        """`mail_from`, parsed."""
        return parse_sender(self.mail_from)

    @property
    def product(self) -> str:
        """What the messages call the product."""
        return self.sender.display_name or "ORION"
