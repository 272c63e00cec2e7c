"""Keys: any language, one spelling, nothing that climbs."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.contracts.storage import InvalidKey
from orion_core.errors import Malformed
from orion_core.paging import pack
from orion_plugins.storage.keys import after, beyond, from_cursor, to_key, to_prefix


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a/b",
        "a b+c%2F",
        "日本語/и",
        "🎉",
        ".hidden",
        "...",
        "a/..b",
        "x" * 1024,
        "ä" * 512,
        "a%",
        "%zz",
        "a..b/c.",
    ],
)
def test_what_is_a_key(text: str) -> None:
    """T2."""
    assert to_key(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 1025,
        "ä" * 513,
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\x00b",
        "a\nb",
        "a\x7f",
        "a\x85b",
        "\u202egnp.exe",
        "a\u2066b",
        "..%2fa",
        "%2e%2e/a",
        "%2e%2e%2fa",
        "%252e%252e%252fa",
        "a/%2e",
        "..%5ca",
        "a\ud800",
    ],
)
def test_what_is_no_key(text: str) -> None:
    """T2."""
    with pytest.raises(InvalidKey) as caught:
        to_key(text)
    assert caught.value.status == 400
    assert caught.value.errors[0].field == "key"


@given(st.text(min_size=1, max_size=50))
def test_a_key_keeps_its_meaning(text: str) -> None:
    """T2: what is taken is stable, and never climbs however often it is decoded."""
    try:
        key = to_key(text)
    except InvalidKey:
        return
    assert to_key(key) == key
    assert not {"", ".", ".."} & set(key.split("/"))
    assert quote(key, safe="/").startswith("/") is False


def test_composed_and_decomposed_are_one_key() -> None:
    """T2: stored as NFC."""
    assert to_key("u\u0308") == to_key("\u00fc") == "\u00fc"


@given(st.lists(st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1, max_size=4), min_size=2))
def test_places_between_keys(texts: list[str]) -> None:
    """T3: nothing lies between a key and the place behind it; all that begins alike lies before the place beyond."""
    for one in (text.encode() for text in texts):
        assert one < after(one) < beyond(one)
        for other in (text.encode() for text in texts):
            assert not one < other < after(one)
            assert other.startswith(one) == (one <= other < beyond(one))


@given(st.binary(max_size=1025))
def test_a_cursor_has_one_spelling(place: bytes) -> None:
    assert from_cursor(pack(place)) == place


@pytest.mark.parametrize("cursor", ["!", "a", "YQ==", "YR", "Y Q", "ä", pack(b"x" * 1026)])
def test_what_is_no_cursor(cursor: str) -> None:
    with pytest.raises(Malformed):
        from_cursor(cursor)


def test_a_prefix_may_end_anywhere() -> None:
    """T3."""
    assert to_prefix("") == b""
    assert to_prefix("folder/") == b"folder/"
    assert to_prefix("100%_") == b"100%_"
    for text in ("/", "../", "a//", "a\x00"):
        with pytest.raises(InvalidKey):
            to_prefix(text)
