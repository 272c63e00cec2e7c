"""X-Request-Timeout, in the manner of gRPC."""

from __future__ import annotations

import pytest

from orion_core.request_timeout import parse_request_timeout, request_timeout


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(4.5, "4500m"), (0.0004, "1m"), (0.0, "1m"), (-3.0, "1m"), (0.0199, "19m"), (10.0**9, "99999999m")],
)
def test_it_is_written_in_whole_milliseconds(seconds: float, written: str) -> None:
    """G52: never more than there is, and never nothing, which some would read as no limit."""
    assert request_timeout(seconds) == written
    assert parse_request_timeout(written) == pytest.approx(max(0.001, min(seconds, 99_999.999)), abs=0.001)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("00000007S", 7), ("0S", 0)],
)
def test_every_unit_of_grpc_is_understood(text: str, seconds: float) -> None:
    """G52."""
    assert parse_request_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "S", "5s", "-5S", "+5S", "1.5S", "123456789m", "5mm", "\u0665S", "5S\n"])
def test_anything_else_counts_for_nothing(text: str) -> None:
    """G52."""
    assert parse_request_timeout(text) is None
