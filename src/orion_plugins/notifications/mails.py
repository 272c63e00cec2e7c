"""Mail messages, as pure functions (RFC 5322, RFC 2046, RFC 3834)."""

from __future__ import annotations

from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from uuid import UUID

import idna

from orion_plugins.notifications.rendering import Rendered


def parse_sender(text: str) -> Address:
    """``Name <local@domain>`` as an address; raises ValueError for what is none."""
    name, address = parseaddr(text)
    if "@" not in address or text != " ".join(text.split()):
        raise ValueError("an address and at most one line are needed")
    return _address(name, address)


def message_id(delivery_id: UUID, sender: Address) -> str:
    """The Message-ID of every attempt of a delivery, so that a receiver recognises a second copy (N4a)."""
    return f"<{delivery_id}@{sender.domain}>"


def build(
    content: Rendered, *, sender: Address, to: str, identifier: str, at: datetime, correlation_id: str
) -> EmailMessage:
    """A multipart/alternative message to the one address `to`; raises ValueError for an address that is none."""
    recipient = _address("", to)
    # Headers are ASCII wherever the address is: only a local part outside it needs SMTPUTF8 (RFC 6532).
    message = EmailMessage(policy=policy.SMTP if recipient.username.isascii() else policy.SMTPUTF8)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = content.subject
    message["Date"] = format_datetime(at)
    message["Message-ID"] = identifier
    message["Auto-Submitted"] = "auto-generated"
    if correlation_id:
        message["X-Correlation-ID"] = correlation_id
    message.set_content(content.text)
    message.add_alternative(content.html, subtype="html")
    return message


def _address(name: str, address: str) -> Address:
    local, _, domain = address.rpartition("@")
    if not local or not domain:
        raise ValueError(f"no address: {address!r}")
    # Address refuses line breaks in every part. The standard library knows only the older IDNA, which takes the sharp s
    # for ss, and so for another domain.
    return Address(name, local, domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii"))
