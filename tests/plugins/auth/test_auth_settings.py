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


def test_the_defaults_are_those_of_the_reference() -> None:
    """A15, A30: an hour for access, seven days idle, thirty in all."""
    settings = AuthSettings()

    assert (settings.access_ttl, settings.refresh_idle, settings.refresh_absolute) == (
        timedelta(hours=1),
        timedelta(days=7),
        timedelta(days=30),
    )
