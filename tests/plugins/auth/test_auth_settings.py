"""Settings of auth that could not work are refused at the start."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orion_plugins.auth.settings import AuthSettings


@pytest.mark.parametrize("name", ["access_ttl", "refresh_idle", "refresh_absolute"])
@pytest.mark.parametrize("given", [timedelta(0), timedelta(seconds=-1), timedelta(days=3651), timedelta.max])
def test_a_time_that_no_calendar_holds_is_refused_by_name(name: str, given: timedelta) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0 and at most 315360000 seconds"):
        AuthSettings(**{name: given})


@pytest.mark.parametrize("seconds", [-1, 60.001, 3600])
def test_a_grace_window_of_more_than_a_minute_is_refused_by_name(seconds: float) -> None:
    """A23."""
    with pytest.raises(ValueError, match="refresh_grace must be from 0 to 60 seconds"):
        AuthSettings(refresh_grace=timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [0, 10, 60])
def test_a_grace_window_may_be_anything_from_none_to_a_minute(seconds: int) -> None:
    """A23."""
    assert AuthSettings(refresh_grace=timedelta(seconds=seconds)).refresh_grace == timedelta(seconds=seconds)


def test_the_defaults_are_those_of_the_reference() -> None:
    """A15, A23, A30: an hour for access, seven days idle, thirty in all, ten seconds for retries."""
    settings = AuthSettings()

    assert (settings.access_ttl, settings.refresh_idle, settings.refresh_absolute) == (
        timedelta(hours=1),
        timedelta(days=7),
        timedelta(days=30),
    )
    assert settings.refresh_grace == timedelta(seconds=10)
