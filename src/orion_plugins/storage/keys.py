"""Keys of objects, and their places in a list. Pure functions."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote

from orion_core.contracts.storage import InvalidKey
from orion_core.errors import FieldError
from orion_core.paging import bad_cursor, unpack

MOST = 1024
"""Bytes of the longest key."""

_OVERRIDES = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def to_key(text: str, field: str = "key") -> str:
    """`text` as a key: NFC, 1 to 1,024 bytes of UTF-8, any language (T2).

    Raises `InvalidKey` for control characters, direction overrides, backslashes, empty segments, and for segments
    ``.`` and ``..``, also where they only appear once more percent signs are decoded.
    """
    if problem := _problem(text):
        raise InvalidKey(f"{field}: {problem}", errors=[FieldError(field, "invalid_key", problem)])
    return unicodedata.normalize("NFC", text)


def to_prefix(text: str, field: str = "prefix") -> bytes:
    """`text` as the beginning of keys, in UTF-8; raises `InvalidKey` for what no key can begin with."""
    if not text:
        return b""
    # With a letter behind it even "folder/" is the beginning of something.
    return to_key(text + "x", field)[:-1].encode()


def _problem(text: str) -> str:
    try:
        size = len(unicodedata.normalize("NFC", text).encode())
    except UnicodeEncodeError:
        return "must be valid Unicode text"
    if not 1 <= size <= MOST:
        return "must not be empty" if not size else f"must have at most {MOST} bytes of UTF-8"
    for character in text:
        if unicodedata.category(character) == "Cc":
            return "must not contain control characters"
        if character in _OVERRIDES:
            return "must not contain direction overrides"
    if "\\" in text:
        return "must not contain backslashes"
    if "" in text.split("/"):
        return "must not begin or end with a slash, and have no empty segments"
    if _climbs(text):
        return "must not contain the segments . and .."
    return ""


def _climbs(text: str) -> bool:
    for _ in range(4):
        if any(segment in (".", "..") for segment in text.replace("\\", "/").split("/")):
            return True
        decoded = unquote(text)
        if decoded == text:
            return False
        text = decoded
    return False


def after(key: bytes) -> bytes:
    """The place behind `key` in a list: no key lies between, as none contains NUL."""
    return key + b"\x00"


def beyond(prefix: bytes) -> bytes:
    """The place behind all keys that begin with `prefix`, which must not be empty."""
    # The last byte of UTF-8 is never 0xFF.
    return prefix[:-1] + bytes([prefix[-1] + 1])


def from_cursor(cursor: str) -> bytes:
    """The place that `cursor` stands for, which is no longer than one behind a key; raises `Malformed`."""
    place = unpack(cursor)
    if len(place) > MOST + 1:
        raise bad_cursor()
    return place
