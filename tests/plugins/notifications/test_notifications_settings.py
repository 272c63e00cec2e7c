"""Settings of notifications that could not work are refused at the start."""

from __future__ import annotations

import pytest

from orion_plugins.notifications.settings import NotificationsSettings


@pytest.mark.parametrize("given", [0, -1, 36_501, 10**12])
def test_a_retention_that_no_calendar_holds_is_refused_by_name(given: int) -> None:
    with pytest.raises(ValueError, match="retention_days must be from 1 to 36500"):
        NotificationsSettings(retention_days=given)


@pytest.mark.parametrize("given", ["nobody", "", "a@", "Shop\r\nBcc: x@x.org <a@x.org>"])
def test_a_sender_that_is_no_address_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ValueError, match=r"mail_from must be like 'Shop <no-reply@example.org>'"):
        NotificationsSettings(mail_from=given)
