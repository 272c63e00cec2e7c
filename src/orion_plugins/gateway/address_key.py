"""The key under which an address is counted: IPv6 by its /64, which is one subscriber (G10)."""

from __future__ import annotations

import functools
import ipaddress


@functools.lru_cache(maxsize=65_536)
def address_key(address: str) -> str:
    """`address` as a key: IPv4 as it is, also when written as IPv6; IPv6 without its last 64 bits; else the text."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"
