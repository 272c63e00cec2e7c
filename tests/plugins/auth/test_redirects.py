"""Where mailed steps may lead."""

from __future__ import annotations

import pytest

from orion_core.errors import Invalid
from orion_plugins.auth.redirects import check_redirect
from orion_plugins.auth.settings import AuthSettings

LISTED = ("https://ok.example/docs", "http://localhost:8080", "https://other.example:8443/a/", "myapp://open/done")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://ok.example/docs",
        "https://ok.example:443/docs",
        "https://ok.example/docs/",
        "https://ok.example/docs/a/b?x=1&y=%20",
        "https://ok.example/docs?next=https://evil.example/",
        "http://localhost:8080",
        "http://localhost:8080/",
        "http://localhost:8080/anything",
        "https://other.example:8443/a/",
        "https://other.example:8443/a/b",
        "myapp://open/done",
    ],
)
def test_an_address_at_or_below_a_listed_one_is_allowed(address: str) -> None:
    """A43."""
    check_redirect(address, LISTED)


@pytest.mark.parametrize(
    "address",
    [
        "https://ok.example/docss",
        "https://ok.example/doc",
        "https://ok.example/",
        "https://ok.example",
        "https://ok.example/DOCS",
        "https://ok.example/docs/../admin",
        "https://ok.example/docs/..",
        "https://ok.example/docs/%2e%2e/admin",
        "https://ok.example/docs/%2E./admin",
        "https://ok.example/docs/..%2fadmin",
        "https://ok.example/docs%2f..%2fadmin",
        "https://ok.example/docs/%5c..",
        "https://ok.example//docs",
        "https://ok.example//evil.example/docs",
        "http://ok.example/docs",
        "HTTPS://ok.example/docs",
        "https://OK.example/docs",
        "https://ok.example./docs",
        "https://ok.example:444/docs",
        "https://ok.example:/docs",
        "https://ok.example:443x/docs",
        "https://ok.example:99999/docs",
        "https://ok.example@evil.example/docs",
        "https://user@ok.example/docs",
        "https://user:password@ok.example/docs",
        "https://evil.example/https://ok.example/docs",
        "https://evil.example/?https://ok.example/docs",
        "https://evil.example#https://ok.example/docs",
        "https://ok.example/docs#fragment",
        "https://ok.example.evil.example/docs",
        "https://evil.example\\@ok.example/docs",
        "https://ok.example\\.evil.example/docs",
        "https:\\\\ok.example\\docs",
        "https:/ok.example/docs",
        "https:ok.example/docs",
        "https:///ok.example/docs",
        "//ok.example/docs",
        "//evil.example",
        "/docs",
        "docs",
        "javascript:alert(1)",
        "data:text/html,hello",
        " https://ok.example/docs",
        "https://ok.example/docs ",
        "https://ok.example/do\tcs",
        "https://ok.example/docs\r\nset-cookie: a=b",
        "https://ok.example/docs\x00",
        "https://*.example/docs",
        "https://ok.*/docs",
        "https://ok\u3002example/docs",
        "https://\u043ek.example/docs",
        "http://localhost:80801",
        "http://localhost",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "https://other.example:8443/a",
        "https://other.example:8443/ab",
        "myapp://other/done",
        "https://",
        "https://[",
    ],
)
def test_every_other_spelling_is_refused_naming_the_field(address: str) -> None:
    """A43: parts are compared, never text."""
    with pytest.raises(Invalid) as refused:
        check_redirect(address, LISTED)

    assert [(error.field, error.code) for error in refused.value.errors] == [("redirect_to", "not_allowed")]


def test_without_a_list_nobody_is_sent_anywhere() -> None:
    """A43."""
    with pytest.raises(Invalid):
        check_redirect("https://ok.example/docs", AuthSettings().redirects)


@pytest.mark.parametrize(
    "listed",
    [
        "https://*.example",
        "https://ok.example/*",
        "ok.example",
        "/docs",
        "https://OK.example",
        "https://ok.example/a?b",
    ],
)
def test_a_list_holds_no_patterns(listed: str) -> None:
    """A43."""
    with pytest.raises(ValueError, match="redirects must hold addresses"):
        AuthSettings(redirects=(listed,))
