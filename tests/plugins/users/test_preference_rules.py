"""What a preference may be: pure functions."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orion_core.contracts.users import PreferenceChange
from orion_core.errors import Invalid, Malformed
from orion_core.json_value import Json
from orion_plugins.users.preference_bodies import read_patch
from orion_plugins.users.preferences import Declared
from orion_plugins.users.profiles import beginning
from orion_plugins.users.redaction import metadata

NOTHING = Declared({})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(PLAIN)
def test_every_json_value_is_kept_exactly(plain: object) -> None:
    """U13."""
    [wanted] = NOTHING.check([PreferenceChange("a", Json.of(plain), "json")])

    assert wanted.text is not None
    back = json.loads(wanted.text)
    assert back == plain
    assert json.dumps(back) == json.dumps(plain)


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-23 * 60, 23 * 60))  # noqa: DTZ001
def test_a_time_keeps_its_instant(naive: datetime, minutes: int) -> None:
    """U13."""
    at = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    [wanted] = NOTHING.check([PreferenceChange("a", Json.of(at.isoformat()), "timestamp")])

    assert wanted.text is not None
    text = json.loads(wanted.text)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00.123456789Z",
        "2026-W01-1T00:00:00+00:00",
        "20260101T000000Z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+00:00:30",
        "\uff12026-01-01T00:00:00Z",
        "0001-01-01T00:00:00+10:00",
    ],
)
def test_a_time_that_would_not_come_back_as_it_was_is_refused(text: str) -> None:
    """U12, U13."""
    with pytest.raises(Invalid) as error:
        NOTHING.check([PreferenceChange("a", Json.of(text), "timestamp")])

    assert [(each.field, each.code) for each in error.value.errors] == [("a", "type")]


@pytest.mark.parametrize("text", ["2026-01-01t00:00:00.5000000z", "2026-01-01T01:00:00.500000000+01:00"])
def test_a_time_may_have_noughts_at_its_end_and_small_letters(text: str) -> None:
    """U13: RFC 3339, section 5.6."""
    [wanted] = NOTHING.check([PreferenceChange("a", Json.of(text), "timestamp")])

    assert wanted.text == '"2026-01-01T00:00:00.500000Z"'


@settings(max_examples=300)
@given(st.binary() | PLAIN.map(lambda plain: json.dumps(plain).encode()))
def test_any_body_is_a_patch_or_refused_with_a_reason(body: bytes) -> None:
    """U12: nothing else comes out of hostile bodies."""
    try:
        found = read_patch(body)
    except Invalid as error:
        reasons = error.errors or isinstance(error, Malformed)
    else:
        reasons = isinstance(found, tuple)

    assert reasons


@given(st.dictionaries(st.sampled_from(["a", "b.c"]), st.fixed_dictionaries({"value": PLAIN})))
def test_a_patch_says_what_its_body_says(given_body: dict[str, dict[str, object]]) -> None:
    """U15."""
    changes = read_patch(json.dumps(given_body).encode())

    assert {change.key: change.value.plain() for change in changes} == {
        key: members["value"] for key, members in given_body.items()
    }


@given(st.text())
def test_a_beginning_is_literal(text: str) -> None:
    """U10: in a pattern with a backslash as escape, only the last character is a wildcard."""
    pattern = beginning(text)

    assert pattern.endswith("%")
    unescaped = pattern[:-1].replace("\\\\", "").replace("\\%", "").replace("\\_", "")
    assert not set(unescaped) & set("\\%_")


@given(st.dictionaries(st.text(), PLAIN, max_size=5))
def test_metadata_is_json_of_a_bounded_size(details: dict[str, object]) -> None:
    """U29."""
    text = metadata(details)

    assert isinstance(json.loads(text), dict)
    assert len(text.encode()) <= 8 * 1024
    assert "\x00" not in text


def test_nesting_has_an_end() -> None:
    deep: object = None
    for _ in range(200):
        deep = [deep]
    with pytest.raises(Invalid) as error:
        NOTHING.check([PreferenceChange("a", Json.of(deep), "json")])

    assert [each.code for each in error.value.errors] == ["too_deep"]
