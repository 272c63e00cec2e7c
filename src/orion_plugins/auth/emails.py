"""Email addresses: what is shown and written to, and what decides whether two of them are the same account's."""

from __future__ import annotations

import unicodedata

import attrs
import idna

from orion_core.errors import Invalid
from orion_core.validators import is_email
from orion_core.values import invalid


@attrs.frozen
class Address:
    """An address of an account: `email` is stored, shown and written to, `key` is equal for equal accounts."""

    email: str = attrs.field(validator=is_email)
    key: str


def normalise(given: str, *, field: str = "email") -> Address:
    """The address that `given` stands for; raises `Invalid`, naming `field`, for what is none.

    `email` is NFKC in lower case with a Unicode domain. `key` is case-folded (so that the German sharp s and ss meet)
    with the domain in its ASCII form (UTS 46). Mail goes to the `email` of the account, never to what somebody typed to
    find it: two addresses that meet in one key may be different mailboxes.
    """
    text = unicodedata.normalize("NFKC", given.strip())
    local, at, domain = text.rpartition("@")
    # Some characters become @ or a blank by this normalisation, so the checks come after it. What cannot be seen must
    # not tell two addresses apart.
    if not at or "@" in local or any(unicodedata.category(character)[0] == "C" for character in text):
        raise _refused(field)
    try:
        ascii_domain = idna.encode(domain.rstrip("."), uts46=True).decode()
        shown_domain = idna.decode(ascii_domain)
    except (idna.IDNAError, UnicodeError):
        raise _refused(field) from None
    shown, folded = (unicodedata.normalize("NFKC", form) for form in (local.lower(), local.casefold()))
    return Address(f"{shown}@{shown_domain}", f"{folded}@{ascii_domain}")


def normalised_or_none(given: str) -> Address | None:
    """The address that `given` stands for, or None for what is none."""
    try:
        return normalise(given)
    except Invalid:
        return None


def _refused(field: str) -> Invalid:
    return invalid(field, "email", "must be an email address like ada@example.org")
