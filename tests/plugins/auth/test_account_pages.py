"""The pages that mailed links lead to, as password managers see them."""

from __future__ import annotations

from orion_plugins.auth import account_pages


def test_the_field_for_a_password_is_hidden_and_open_to_password_managers() -> None:
    """A45: ASVS 6.2.6 and 6.2.7. Nothing can stand in the way of pasting, for no script may run."""
    page = account_pages.Page("reset/form", "Reset", "Choose one.", "Save", "Done", asks_password=True)

    text = page.form("omt_secret").decode()

    assert "type='password' name='new_password' autocomplete='new-password'" in text
    assert "maxlength" not in text
    assert "onpaste" not in text
    assert "script-src" not in account_pages.HEADERS["Content-Security-Policy"]
    assert account_pages.HEADERS["Content-Security-Policy"].startswith("default-src 'none'")
