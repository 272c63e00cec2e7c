"""Merge patches and entity tags of profiles: pure functions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import attrs
import pytest

from orion_core.contracts.users import Profile, ProfileChange
from orion_core.errors import Invalid, Malformed
from orion_plugins.users.etags import etag, matches
from orion_plugins.users.patches import read_patch

PROFILE = Profile(
    id=UUID("0190f5a0-0000-7000-8000-00000000000a"),
    user_id=UUID("0190f5a0-0000-7000-8000-000000000001"),
    email="ada@x.org",
    name="Ada",
    first_name="",
    last_name="",
    bio="",
    avatar_url="",
    locale="",
    time_zone="",
    version=3,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    updated_at=datetime(2026, 1, 2, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("body", "change"),
    [
        (b"{}", ProfileChange()),
        (b'{"name": "Ada"}', ProfileChange(name="Ada")),
        (b'{"name": null, "bio": ""}', ProfileChange(name="", bio="")),
        (
            b' {"locale":"de-AT","time_zone":"Europe/Vienna"}\n',
            ProfileChange(locale="de-AT", time_zone="Europe/Vienna"),
        ),
        (b'{"time_zone":"Etc/GMT+5"}', ProfileChange(time_zone="Etc/GMT+5")),
        (b'{"bio":"two\\r\\nlines\\tand a tab"}', ProfileChange(bio="two\r\nlines\tand a tab")),
    ],
)
def test_a_patch_names_what_it_changes(body: bytes, change: ProfileChange) -> None:
    """U5."""
    assert read_patch(body) == change


@pytest.mark.parametrize("body", [b"", b"{", b"{'name': 1}", b'{"name": "\xfe"}', b"\x00", b"[" * 100_000])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    """U5."""
    with pytest.raises(Malformed):
        read_patch(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"name" 1}', "line 1, column 9"),
        (b'{"name": "\xfe"}', "it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"name": ' + b"9" * 5000 + b"}", "a number in it is too long"),
    ],
)
def test_the_reason_is_told_in_words(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read_patch(body)


def test_a_field_given_twice_is_refused_by_name() -> None:
    """U5: readers of JSON differ in which of the two counts (RFC 8259, section 4)."""
    with pytest.raises(Malformed) as refused:
        read_patch(b'{"name": "Ada", "name": "Grace"}')

    assert [(error.field, error.code) for error in refused.value.errors] == [("name", "duplicate")]


def test_names_of_fields_that_no_answer_could_hold_are_shown_shortened() -> None:
    """U5: half a surrogate pair cannot be encoded, and a name is not repeated at any length."""
    with pytest.raises(Invalid) as refused:
        read_patch(json.dumps({"\ud800": "x", "k" * 50_000: "x"}).encode())

    assert [error.field for error in refused.value.errors] == ["\\ud800", "k" * 128]


def test_an_answer_names_a_hundred_fields_at_the_most() -> None:
    """U5."""
    with pytest.raises(Invalid) as refused:
        read_patch(json.dumps(dict.fromkeys(map(str, range(20_000)))).encode())

    assert len(refused.value.errors) == 100


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"NaN"])
def test_json_that_is_no_object_is_invalid(body: bytes) -> None:
    """U5."""
    with pytest.raises(Invalid) as refused:
        read_patch(body)

    assert refused.value.status == 422


def test_each_unknown_and_read_only_field_is_named() -> None:
    """U5."""
    read_only = ["id", *set(attrs.fields_dict(Profile)) - set(attrs.fields_dict(ProfileChange))]  # type: ignore[arg-type]  # values are attrs classes

    with pytest.raises(Invalid) as refused:
        read_patch(json.dumps({**dict.fromkeys(read_only, "x"), "name": "Ada", "role": "admin", "": 1}).encode())

    found = {error.field: error.code for error in refused.value.errors}
    assert found == {**dict.fromkeys(read_only, "read_only"), "role": "unknown", "": "unknown"}


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("name", "x" * 201, "too_long"),
        ("name", "a\x00b", "control_character"),
        ("first_name", "\u202ex", "bidi_override"),
        ("bio", "x" * 2001, "too_long"),
        ("bio", "a\x1bb", "pattern"),
        ("bio", "\ud800", "pattern"),
        ("locale", "de_AT", "pattern"),
        ("time_zone", "../etc/passwd", "pattern"),
    ],
)
def test_hostile_text_is_refused(field: str, text: str, code: str) -> None:
    """U9."""
    with pytest.raises(Invalid) as refused:
        read_patch(json.dumps({field: text}).encode())

    assert [(error.field, error.code) for error in refused.value.errors] == [(field, code)]


def test_a_patch_that_is_refused_in_part_is_refused_in_whole() -> None:
    """U5."""
    with pytest.raises(Invalid) as refused:
        read_patch(b'{"name": "Ada", "bio": 5, "locale": true, "email": "x"}')

    assert sorted(error.field for error in refused.value.errors) == ["bio", "email", "locale"]


def test_an_etag_is_strong_and_belongs_to_one_version_of_one_person() -> None:
    """U6."""
    other = UUID("0190f5a0-0000-7000-8000-000000000002")

    tags = {etag(each) for each in (PROFILE, attrs.evolve(PROFILE, version=4), attrs.evolve(PROFILE, user_id=other))}  # type: ignore[misc]  # values are attrs classes

    assert len(tags) == 3
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)


def test_if_match_compares_strongly_and_takes_lists() -> None:
    """U6: RFC 9110, section 13.1.1."""
    tag = etag(PROFILE)

    assert all(matches(header, tag) for header in (tag, " * ", f'"a, b", {tag}', f'W/"x",{tag} , "y"'))
    assert not any(
        matches(header, tag) for header in ("", f"W/{tag}", tag.strip('"'), f'"{tag}', f'"x{tag[1:]}', '"*"')
    )
