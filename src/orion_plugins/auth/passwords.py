"""Passwords at rest: bcrypt over a peppered HMAC, in a form that carries its scheme and the pepper's id.

``orion1$<kid>$2b$10$<salt and digest>`` is ``bcrypt(base64(HMAC-SHA-384(pepper[kid], utf8(password))), rounds=10)``.
The HMAC makes 64 characters of any length in bytes, so bcrypt's limit of 72 bytes is never met and every byte counts. A
password counts exactly as typed: nothing is trimmed or normalised.

Plain bcrypt hashes, as other systems leave them, verify too and are to be replaced on success (`needs_rehash`).
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Sequence

import bcrypt

from orion_core.contracts.auth import PasswordTooLong
from orion_core.errors import FieldError
from orion_core.keyring import Key
from orion_core.values import invalid

ROUNDS = 10
MAX_BYTES = 1024
_SCHEME = "orion1"
_HASH = re.compile(r"(?:orion1\$([^$]+))?(\$2[aby]\$\d\d\$[./A-Za-z0-9]{53})")
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BCRYPT_LIMIT = 72
_STAND_IN = b""


def check_new_password(password: str, *, field: str = "password") -> None:
    """Refuse a new password of more than 1,024 bytes with `PasswordTooLong`, and one that is no text with `Invalid`.

    The errors name `field`.
    """
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise invalid(field, "encoding", "must be valid Unicode text") from None
    if size > MAX_BYTES:
        detail = f"must have at most {MAX_BYTES} bytes in UTF-8"
        raise PasswordTooLong(f"{field}: {detail}", errors=[FieldError(field, "too_long", detail)])


def hash_password(password: str, pepper: Key) -> str:
    """The stored form of `password`; raises like `check_new_password`. Costs about 60 ms of a core."""
    check_new_password(password)
    digest = bcrypt.hashpw(_peppered(password.encode(), pepper), bcrypt.gensalt(ROUNDS))
    return f"{_SCHEME}${pepper.kid}{digest.decode()}"


def verify_password(password: str, stored: str, peppers: Sequence[Key]) -> bool:
    """Whether `stored` was made of exactly this `password`.

    Never raises, and always computes one bcrypt: for a password that is too long or no text, for an unknown pepper,
    and for a `stored` form that is none, it does so and answers False.
    """
    given = _bytes(password)
    scheme = _HASH.fullmatch(stored)
    pepper = next((key for key in peppers if scheme and key.kid == scheme[1]), None)
    if scheme is None or (scheme[1] and pepper is None):
        bcrypt.checkpw(_peppered(_STAND_IN, peppers[0]), _decoy())
        return False
    if pepper is not None:
        secret = _peppered(_STAND_IN if given is None else given, pepper)
    else:
        # What other systems did before bcrypt itself began to refuse more.
        secret = (given or _STAND_IN)[:_BCRYPT_LIMIT]
    return bcrypt.checkpw(secret, scheme[2].encode()) and given is not None


def needs_rehash(stored: str, pepper: Key) -> bool:
    """Whether `stored` has another scheme, pepper or number of rounds than `hash_password` would give it today."""
    return not stored.startswith(f"{_SCHEME}${pepper.kid}$2b${ROUNDS:02}$")


def decoy(pepper: Key) -> str:
    """A stored form of today's cost that no password verifies for, to spend the same time on an unknown account."""
    return f"{_SCHEME}${pepper.kid}{_decoy().decode()}"


def _decoy() -> bytes:
    digest = "".join(secrets.choice(_BCRYPT_ALPHABET) for _ in range(31))
    return bcrypt.gensalt(ROUNDS) + digest.encode()


def _bytes(password: str) -> bytes | None:
    try:
        given = password.encode()
    except UnicodeEncodeError:
        return None
    return given if len(given) <= MAX_BYTES else None


def _peppered(password: bytes, pepper: Key) -> bytes:
    return base64.b64encode(hmac.digest(pepper.secret, password, "sha384"))
