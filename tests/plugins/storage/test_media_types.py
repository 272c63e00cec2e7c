"""Media types: what is declared, what is found, what may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.contracts.storage import TypeMismatch, TypeNotAllowed
from orion_plugins.storage.media_types import check, declared, disposition, found

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", "audio/wav"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\n <!DOCTYPE HTML>", "text/html"),
        (b"\xef\xbb\xbf<html>", "text/html"),
        (b"<!-- GIF89a --><script>", "text/html"),
        (b"<svg xmlns='x'>", "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<!-- x --><svg>", "image/svg+xml"),
        (b"<?xml version='1.0'?><a/>", "application/xml"),
        (b"", ""),
        (b"plain text", ""),
        (b" \x89PNG", ""),
        (b"x<html>", ""),
    ],
)
def test_what_the_first_bytes_say(head: bytes, kind: str) -> None:
    """T29: anchored at the beginning."""
    assert found(head) == kind


@given(st.binary(max_size=600))
def test_no_content_breaks_it(head: bytes) -> None:
    assert isinstance(found(head), str)


@pytest.mark.parametrize("comment", [b"<!---->", b"<!-- x -->\n", b"<!---->\n\n"])
def test_a_content_of_nothing_but_comments_is_looked_at_once(comment: bytes) -> None:
    """T29: two ways to read each of 70 comments would never end."""
    assert found((comment * 100)[:512]) == ""
    assert found((comment * 100)[:500] + b"<svg>") in ("", "image/svg+xml")
    assert found(b"<?xml version='1.0'?>" + (comment * 100)[:450]) == "application/xml"


PICTURES = ("image/png", "image/jpeg")


@pytest.mark.parametrize(
    ("kind", "head", "key", "allowed"),
    [
        ("image/png", PNG, "a.png", PICTURES),
        ("image/png", PNG, "a", PICTURES),
        ("image/png", PNG, "a.png", ("image/*",)),
        ("image/jpg", b"\xff\xd8\xff", "a.jpeg", PICTURES),
        ("text/plain; charset=utf-8", b"hello", "a.txt", ("text/plain",)),
        ("text/csv", b"a,b", "a.csv", ("text/*",)),
        ("application/vnd.oasis.opendocument.text", b"PK\x03\x04", "a.odt", ("application/*",)),
        ("text/html", b"%PDF-", "a.png", ()),
    ],
)
def test_what_a_bucket_takes(kind: str, head: bytes, key: str, allowed: tuple[str, ...]) -> None:
    check(declared(kind, key), found(head), key, allowed)


@pytest.mark.parametrize(
    ("kind", "head", "key", "error"),
    [
        ("image/gif", b"GIF89a", "a.gif", TypeNotAllowed),
        ("image/png", b"GIF89a", "a.png", TypeMismatch),
        ("image/png", b"<html>", "a.png", TypeMismatch),
        ("image/png", b"", "a.png", TypeMismatch),
        ("image/png", b"<svg >", "a.png", TypeMismatch),
        ("image/png", PNG, "a.jpg", TypeMismatch),
        ("image/png", PNG, "a.html", TypeMismatch),
        ("image/png", PNG, "a.png.svg", TypeMismatch),
        ("image/png", PNG, "a.png.gz", TypeMismatch),
        ("image/png", PNG, "data:image/png,a.html", TypeMismatch),
        ("image/png\r\nx: y", PNG, "a.png", TypeNotAllowed),
        ("image/png;\r\n x=y", PNG, "a.png", TypeNotAllowed),
        ("image/png; a=b\n;", PNG, "a.png", TypeNotAllowed),
        ('image/png; a="\x7f"', PNG, "a.png", TypeNotAllowed),
        ("image/", PNG, "a.png", TypeNotAllowed),
        ("image/png; a=b; c", PNG, "a.png", TypeNotAllowed),
        ("image/pngx", PNG, "a", TypeNotAllowed),
    ],
)
def test_what_a_bucket_of_pictures_refuses(kind: str, head: bytes, key: str, error: type[Exception]) -> None:
    """T29: polyglots, HTML in .png, an empty file."""
    with pytest.raises(error):
        check(declared(kind, key), found(head), key, PICTURES)


def test_nothing_declared_is_guessed_from_the_key() -> None:
    assert declared("", "a.png") == "image/png"
    assert declared(" ", "a.unheard") == "application/octet-stream"
    assert declared("", "folder.html/A.WEBP") == "image/webp"
    assert declared("", "a.txt.gz") == "application/gzip"
    assert declared("", "data:text/html,a") == "application/octet-stream"
    assert declared('Text/HTML; charset="utf-8"', "x") == 'text/html; charset="utf-8"'


@pytest.mark.parametrize(
    "kind",
    ["text/html", "image/svg+xml", "application/xml", "text/xml", "application/pdf", "application/xhtml+xml", "x/y"],
)
def test_what_could_run_is_an_attachment(kind: str) -> None:
    """T30."""
    assert disposition(kind, "a").startswith("attachment")
    assert disposition("IMAGE/PNG; a=b", "a").startswith("inline")
    assert disposition("image/png", "a", download=True).startswith("attachment")


@given(st.text(min_size=1))
def test_a_name_cannot_leave_the_header(name: str) -> None:
    """T30: RFC 6266, and no CR, LF or quote gets out."""
    header = disposition("image/png", name.encode("utf-8", "replace").decode())
    assert header.isascii()
    assert header.isprintable()
    assert header.partition('filename="')[2].partition('"')[2].count('"') == 0


def test_a_name_in_any_language_has_a_fallback() -> None:
    assert disposition("image/png", "x/grün.png") == "inline; filename=\"gr_n.png\"; filename*=UTF-8''gr%C3%BCn.png"
    assert disposition("image/png", 'a"\\.png') == "inline; filename=\"a__.png\"; filename*=UTF-8''a%22%5C.png"
