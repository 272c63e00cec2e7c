"""The client's address behind proxies (G10)."""

from __future__ import annotations

import pytest
from small_app import browser, shop

from orion_core.web.client_ip import client_ip, networks

TRUSTED = networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", " 198.51.100.7 ,, 10.0.0.2 ", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1:443", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.1"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "2001:DB8:0::5", "2001:db8::5"),
        ("10.0.0.1", "fe80::1%eth0", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%\x1b[31m", "10.0.0.1"),
        ("", "198.51.100.7", ""),
        ("testclient", "198.51.100.7", "testclient"),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed_g10(peer: str, forwarded: str, expected: str) -> None:
    assert client_ip(peer, forwarded, TRUSTED) == expected


def test_nobody_is_trusted_unless_named_g10() -> None:
    assert client_ip("127.0.0.1", "198.51.100.7", ()) == "127.0.0.1"


def test_a_bad_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.0/99' is no network: write it as 10"):
        networks(["10.0.0.0/99"])


async def test_a_line_of_ones_own_before_the_proxys_line_changes_nothing_g10() -> None:
    """HAProxy adds a second X-Forwarded-For instead of extending the first: the client's line must not win."""
    async with browser(shop(trusted=["10.0.0.0/8"]), peer="10.0.0.1") as client:
        headers = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.7")]
        answer = await client.get("/api/v1/shop/whoami", headers=headers)

    assert answer.json()["client_ip"] == "198.51.100.7"
