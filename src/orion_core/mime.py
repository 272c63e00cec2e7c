"""What makes a message safe to hand over."""

from __future__ import annotations

import re
from email.message import EmailMessage

from orion_core.ports.mail import MailRefused

_NAME = re.compile(r"[!-9;-~]+")
_LINE_BREAK = re.compile(r"\r(?!\n)|\n(?![ \t])")


def check_headers(message: EmailMessage) -> None:
    """Raise `MailRefused` for a header that would become two (RFC 5322, 2.2), or for a message without a recipient.

    The standard library refuses line breaks when a value is set, but not in names, and not under every policy.
    """
    for name, value in message.raw_items():
        if not _NAME.fullmatch(name):
            raise MailRefused("header name: must be printable ASCII without blanks and colons")
        if _LINE_BREAK.search(str(value)):
            raise MailRefused(f"header {name}: must not contain CR or LF")
    if not any(message.get_all(name) for name in ("To", "Cc", "Bcc")):
        raise MailRefused("header To: is missing")
