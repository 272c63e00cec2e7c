"""What a new password may be (NIST SP 800-63B, 5.1.1.2): long enough, and nothing that others try first.

There are no rules of composition and no expiry: they make passwords worse.
"""

from __future__ import annotations

import functools
import unicodedata
from importlib.resources import files

import attrs

from orion_core.contracts.auth_accounts import PasswordRefused
from orion_core.errors import FieldError, Unavailable
from orion_plugins.auth.breached_passwords import BreachedPasswords
from orion_plugins.auth.passwords import check_new_password

LEAST = 8
_EXAMINED = 128
"""Characters of a password that are compared with words, so that the cost does not grow with the input."""
_SHORTEST_WORD = 3


@attrs.frozen
class PasswordPolicy:
    """The rules of one deployment. `product` is its name, `breached` an offline list if there is one."""

    product: str = "ORION"
    breached: BreachedPasswords | None = None

    def check(self, password: str, email: str, *, field: str = "password") -> None:
        """Refuse `password` for the account with the address `email`; errors name `field`.

        Raises `PasswordTooLong`, `Invalid` for what is no text, `PasswordRefused` for what is too easily guessed, and
        `Unavailable` when the offline list cannot be read. It may read the disk.
        """
        check_new_password(password, field=field)
        if len(password) < LEAST:
            raise _refused(field, "too_short", f"must have at least {LEAST} characters")
        seen = _folded(password)
        if seen in _common():
            raise _refused(field, "common", "is one of the most common passwords: choose another one")
        for word in self._words(email):
            if word in seen:
                detail = "must not contain the name of the product or of your address: choose another one"
                raise _refused(field, "context_word", detail)
        if self._lost(password):
            raise _refused(field, "breached", "is known from a breach elsewhere: choose another one")

    def _words(self, email: str) -> set[str]:
        local = email.rpartition("@")[0][:_EXAMINED]
        # Shorter ones are part of nearly everything.
        return {word for text in ("orion", self.product, local) if len(word := _folded(text)) >= _SHORTEST_WORD}

    def _lost(self, password: str) -> bool:
        if self.breached is None:
            return False
        try:
            return self.breached.has(password)
        except (OSError, ValueError) as error:
            raise Unavailable("new passwords cannot be checked now: try again later") from error


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:_EXAMINED]).casefold()


@functools.cache
def _common() -> frozenset[str]:
    text = files("orion_plugins.auth").joinpath("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


def _refused(field: str, code: str, detail: str) -> PasswordRefused:
    return PasswordRefused(f"{field}: {detail}", errors=[FieldError(field, code, detail)])
