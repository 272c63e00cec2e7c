"""Counters of failures and of mail, in the service's own database: all replicas agree, and a restart forgets nothing.

A key is an HMAC, so the table names nobody. Each row expires.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv6Address, ip_address

from orion_core.keyring import Keyring
from orion_core.ports.database import Database
from orion_plugins.auth.throttle_rules import Count

# The update that changes nothing takes the row, so that no other attempt counts before this one is written.
_TAKE = """
INSERT INTO auth_throttles (key, state, blocked_until_ms, expires_ms) VALUES ($1, '[]', 0, $2)
ON CONFLICT (key) DO UPDATE SET key = EXCLUDED.key RETURNING state, blocked_until_ms, expires_ms
"""
_WRITE = "UPDATE auth_throttles SET state = $2, blocked_until_ms = $3, expires_ms = $4 WHERE key = $1"
_READ = "SELECT blocked_until_ms FROM auth_throttles WHERE key = $1"
_FORGET = "DELETE FROM auth_throttles WHERE key = $1"
_CLEAR = "DELETE FROM auth_throttles WHERE key = $1 AND blocked_until_ms <= $2"
_PURGE = "DELETE FROM auth_throttles WHERE expires_ms <= $1"

Rule = Callable[[Count, int], Count | None]


class Throttles:
    """Counts attempts by key, inside the transaction of the caller."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        # The oldest pepper: it stays for as long as a password needs it, so a new one forgets no counter.
        self._secret = keyring.pepper[-1].secret

    def key(self, kind: str, subject: str) -> str:
        """The key of the counter `kind` for `subject`."""
        return hmac.new(self._secret, f"orion throttle|{kind}|{subject}".encode(), hashlib.sha256).hexdigest()

    async def count(self, key: str, rule: Rule, now: datetime) -> int:
        """Count one attempt by `rule`; 0 if it may go on, else the milliseconds until the next one may.

        A refused attempt counts for nothing: nobody is kept out longer by asking.
        """
        now_ms = milliseconds(now)
        [row] = await self._db.fetch(_TAKE, key, now_ms)
        before = Count(tuple(json.loads(row["state"])), row["blocked_until_ms"], row["expires_ms"])
        after = rule(before, now_ms)
        # Written in any case: what is refused takes the same time.
        kept = after or before
        await self._db.fetch(_WRITE, key, json.dumps(kept.times), kept.blocked_until_ms, kept.expires_ms)
        return 0 if after else max(1, before.blocked_until_ms - now_ms)

    async def wait(self, key: str, now: datetime) -> int:
        """The milliseconds until the next attempt may be made, 0 if it may now; counts nothing."""
        rows = await self._db.fetch(_READ, key)
        return max(0, rows[0]["blocked_until_ms"] - milliseconds(now)) if rows else 0

    async def clear(self, key: str, now: datetime) -> bool:
        """Forget what was counted; False, and nothing is forgotten, while the next attempt has to wait."""
        await self._db.fetch(_CLEAR, key, milliseconds(now))
        return await self.wait(key, now) == 0

    async def forget(self, key: str) -> None:
        """Forget what was counted, whatever it was."""
        await self._db.fetch(_FORGET, key)

    async def purge(self, now: datetime) -> None:
        """Delete the rows that have expired."""
        await self._db.fetch(_PURGE, milliseconds(now))


def milliseconds(now: datetime) -> int:
    """Unix milliseconds."""
    return int(now.timestamp() * 1000)


def network(client_ip: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 one; empty for what is no address."""
    try:
        address = ip_address(client_ip)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return f"{int(address) >> 64:x}/64"
    return str(address)
