"""Notices to people: in the application, and by mail."""

from __future__ import annotations

import abc
from datetime import datetime
from uuid import UUID

import attrs

from orion_core.contract import Contract, repeatable
from orion_core.events import event
from orion_core.validators import is_email, matches, max_len
from orion_core.values import value


@value
class Notice:
    """One notice to one person in the application. `type` is a dotted name such as ``user.welcome``."""

    id: UUID
    type: str
    title: str
    body: str
    created_at: datetime
    read_at: datetime | None


@value
class NoticePage:
    """Notices, newest first; `next_cursor` is None on the last page."""

    items: tuple[Notice, ...]
    next_cursor: str | None


@value
class Variable:
    """One word of a template and what stands for it."""

    name: str = attrs.field(validator=matches("[a-z][a-z0-9_]{0,49}", "must be a word of lower-case letters"))
    text: str = attrs.field(validator=max_len(4000), repr=False)


@value
class MailOrder:
    """One mail to one address, in the words of a published template.

    `key` names the fact behind it: ordered twice by one service under one key, it is sent once. `user_id` is whose
    account it is about, None for nobody's yet. `secrets` fill the template like `variables`, but are kept encrypted,
    and only until the mail has left.
    """

    key: str = attrs.field(validator=max_len(100))
    template: str = attrs.field(validator=matches("[a-z][a-z_]{0,49}", "must be the name of a template"))
    recipient: str = attrs.field(validator=is_email)
    user_id: UUID | None = None
    variables: tuple[Variable, ...] = ()
    secrets: tuple[Variable, ...] = attrs.field(default=(), repr=False)


@event("notification.sent", version=1, subject="notification_id")
class NotificationSent:
    """A message left by a channel such as ``email``."""

    notification_id: UUID
    user_id: UUID
    type: str
    channel: str


class Notifications(Contract, name="notifications"):
    """Notices to people: in the application, and by mail."""

    @repeatable
    @abc.abstractmethod
    async def mine(self, cursor: str, limit: int) -> NoticePage:
        """The caller's notices, newest first: `limit` (1 to 200) of them after `cursor`, which is empty at first.

        Raises `Malformed` for a cursor that is not from a page of the same list.
        """

    @repeatable
    @abc.abstractmethod
    async def order_mail(self, order: MailOrder) -> None:
        """Take a mail that a job then sends.

        For services: raises `Forbidden` for people, and `Invalid` for a template that does not exist.
        """
