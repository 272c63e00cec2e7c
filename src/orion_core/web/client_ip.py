"""The client's address: X-Forwarded-For is believed only as far as trusted proxies wrote it (G10)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """`texts` as networks; raises ValueError that names the bad one."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ValueError(f"{text!r} is no network: write it as 10.0.0.0/8") from None
    return tuple(found)


def client_ip(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """The address of the client behind `peer`, given the value of X-Forwarded-For.

    Walks from the right over trusted proxies only; an entry that cannot be read means the peer.
    """
    if not is_trusted(peer, trusted):
        return peer
    for entry in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        try:
            address = ipaddress.ip_address(entry)
        except ValueError:
            return peer
        if "%" in entry:
            # A zone means something on its own host only, and may be any text.
            return peer
        if not is_trusted(entry, trusted):
            return str(address)
    return peer


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether `address` is in one of the networks in `trusted`."""
    if not trusted:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    # A socket for both families shows IPv4 peers as ::ffff:10.0.0.1.
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in trusted)
