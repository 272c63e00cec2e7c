"""Which addresses may be called, as pure functions: global unicast, and what an installation allows beside it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix of RFC 6052: the last 32 bits are the IPv4 address that is reached."""

UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out as global unicast; the rest leads nowhere, or to translators like ::ffff:0:0:0/96."""

# Written down, not left to `is_global`, which has changed between versions of Python.
REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared (RFC 6598)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relays"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/96", "unspecified, loopback or IPv4-compatible"),
        ("64:ff9b:1::/48", "local NAT64 (RFC 8215)"),
        ("100::/64", "discard only"),
        ("2001::/23", "protocol assignments, Teredo among them"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDR ranges; raises ValueError for a text that is none."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def reached(address: Address) -> Address:
    """The address that really answers: the IPv4 address inside a mapped or NAT64 one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_allowed(text: str, allowed: Iterable[Network]) -> bool:
    """Whether the address `text` is in one of the `allowed` networks."""
    try:
        address = reached(ipaddress.ip_address(text))
    except ValueError:
        return False
    return any(address.version == network.version and address in network for network in allowed)


def refusal(text: str, allowed: Iterable[Network] = ()) -> str | None:
    """Why the address `text` may not be called, None if it may."""
    if is_allowed(text, allowed):
        return None
    try:
        given = ipaddress.ip_address(text)
    except ValueError:
        return f"{text!r} is no address"
    if isinstance(given, ipaddress.IPv6Address) and given.scope_id is not None:
        return f"{text} has a scope"
    address = reached(given)
    for network, what in REFUSED:
        if address.version == network.version and address in network:
            return f"{text} is {what}"
    if isinstance(address, ipaddress.IPv6Address) and address not in UNICAST:
        return f"{text} is no global unicast"
    if not address.is_global or address.is_multicast:
        return f"{text} is not global"
    return None
