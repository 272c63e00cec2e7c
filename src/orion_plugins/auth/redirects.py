"""Where people may be sent after a mailed step: only to addresses that the settings list (RFC 9700, 4.11)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import attrs

from orion_core.values import invalid

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\]")
_PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~A-Z]+")
"""Printable ASCII without blanks, quotes, angle brackets, backslash, caret, backtick and braces (RFC 3986)."""
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_HIDDEN = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Place:
    """An address in parts: two of them are compared part by part, never as text."""

    scheme: str
    host: str
    port: int | None
    path: str

    def covers(self, other: Place) -> bool:
        """Whether `other` is this place or below it: ``/docs`` covers ``/docs/a`` and not ``/docss``."""
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        return other.path == self.path or other.path.startswith(self.path.rstrip("/") + "/")


def place(text: str) -> Place | None:
    """The place that the absolute URL `text` names; None for everything that programs might read in two ways."""
    if not _PLAIN.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    scheme, separator, rest = text.partition("://")
    # Letter for letter as it is compared: no upper case, no user before the host, no dot after it.
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority[: -len(f":{port}")] if port is not None else authority
    if not separator or not _SCHEME.fullmatch(scheme) or not _HOST.fullmatch(host) or authority.endswith(":"):
        return None
    path = parts.path or "/"
    if path.startswith("//") or _DOTS.search(path) or _HIDDEN.search(path) or "#" in text:
        return None
    return Place(scheme, host, _PORTS.get(scheme) if port is None else port, path)


def check_redirect(redirect_to: str, allowed: Iterable[str]) -> None:
    """Raise `Invalid` unless `redirect_to` is empty or covered by one of the listed addresses."""
    if not redirect_to:
        return
    wanted = place(redirect_to)
    if wanted is None or not any(listed.covers(wanted) for each in allowed if (listed := place(each))):
        raise invalid(
            "redirect_to", "not_allowed", "must be one of the addresses that the setting auth.redirects lists"
        )
