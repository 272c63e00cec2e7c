"""Pages: what a limit may be, and that a cursor leads back to its place or is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.errors import Invalid, Malformed
from orion_core.ids import new_id
from orion_core.paging import check_limit, from_cursor, from_time_cursor, pack, to_cursor, to_time_cursor, unpack


@given(st.datetimes(timezones=st.just(UTC)), st.uuids(), st.binary())
def test_a_cursor_leads_back_to_its_place(at: datetime, row_id: UUID, place: bytes) -> None:
    assert from_cursor(to_cursor(row_id)) == row_id
    assert from_time_cursor(to_time_cursor(at, row_id)) == (at, row_id)
    assert unpack(pack(place)) == place


@given(st.text())
def test_a_cursor_is_one_that_was_given_out_or_malformed(text: str) -> None:
    for read, write in (
        (from_cursor, lambda found: to_cursor(found)),
        (from_time_cursor, lambda found: to_time_cursor(*found)),
        (unpack, pack),
    ):
        try:
            found = read(text)
        except Malformed:
            continue
        assert write(found) == text


def test_a_cursor_has_one_spelling() -> None:
    """N8."""
    cursor = to_cursor(new_id())

    for other in ("", cursor[:-1], f"{cursor}=", cursor[:-1] + "B", str(from_cursor(cursor)), f"{cursor} "):
        with pytest.raises(Malformed) as refused:
            from_cursor(other)
        assert [error.field for error in refused.value.errors] == ["cursor"]


@pytest.mark.parametrize(("limit", "most"), [(0, 200), (201, 200), (-1, 200), (1001, 1000)])
def test_a_limit_that_no_page_has_names_what_is_allowed(limit: int, most: int) -> None:
    with pytest.raises(Invalid, match=f"limit: must be from 1 to {most}"):
        check_limit(limit, most)
