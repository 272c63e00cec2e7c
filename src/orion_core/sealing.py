"""Sealing: secrets at rest, encrypted with the keyring's encryption key and bound to where they are stored.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce. Each place has a key of its own, derived with HKDF-SHA-256
(RFC 5869), and the place is associated data: a sealed text that was moved to another row does not open.
"""

from __future__ import annotations

import base64
import binascii
import secrets

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orion_core.keyring import Key, Keyring

_FORM = "v1"
_NONCE = 12


class Unsealable(Exception):
    """A sealed text that does not open: it was changed, moved, or its key is no longer in the keyring."""


@attrs.frozen
class Where:
    """The place of a sealed text: table, id of the row, column."""

    table: str
    row: str
    column: str

    def bound_to(self, kid: str) -> bytes:
        """The associated data ``table|row|column|kid``."""
        return f"{self.table}|{self.row}|{self.column}|{kid}".encode()


def seal(keyring: Keyring, where: Where, plaintext: bytes) -> str:
    """`plaintext` as text that only `open_` with the same `where` and a keyring with the same key can read."""
    return seal_with(keyring.encryption[0], where, plaintext)


def seal_with(key: Key, where: Where, plaintext: bytes) -> str:
    """`plaintext` sealed with `key`; see `seal`."""
    nonce = secrets.token_bytes(_NONCE)
    bound = where.bound_to(key.kid)
    sealed = nonce + AESGCM(_derived(key, bound)).encrypt(nonce, plaintext, bound)
    return f"{_FORM}.{key.kid}.{_encoded(sealed)}"


def open_(keyring: Keyring, where: Where, sealed: str) -> bytes:
    """What `seal` was given; raises `Unsealable`."""
    kid = kid_of(sealed)
    key = next((each for each in keyring.encryption if each.kid == kid), None)
    if key is None:
        raise Unsealable(f"the keyring has no encryption key {kid}: put it back behind the one in use")
    return open_with(key, where, sealed)


def kid_of(sealed: str) -> str:
    """The id of the key with which `sealed` was made; raises `Unsealable` for what is no sealed text."""
    form, _, rest = sealed.partition(".")
    kid, dot, _ = rest.rpartition(".")
    if form != _FORM or not dot:
        raise Unsealable("this is no sealed text")
    return kid


def prefix_of(kid: str) -> str:
    """How every text begins that was sealed with the key `kid`."""
    return f"{_FORM}.{kid}."


def open_with(key: Key, where: Where, sealed: str) -> bytes:
    """What `seal_with` was given with the same `key`; raises `Unsealable`."""
    if kid_of(sealed) != key.kid:
        raise Unsealable(f"a secret of {where.table}.{where.column} was sealed with another key")
    text = sealed.rpartition(".")[2]
    bound = where.bound_to(key.kid)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        # The last character carries bits that decoding drops: only one spelling counts.
        if _encoded(raw) != text:
            raise ValueError("another spelling")
        return AESGCM(_derived(key, bound)).decrypt(raw[:_NONCE], raw[_NONCE:], bound)
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise Unsealable(f"a secret of {where.table}.{where.column} does not open: it was changed or moved") from error


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _derived(key: Key, bound: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"orion sealing v1|" + bound).derive(key.secret)
