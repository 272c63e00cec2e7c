"""Notices a keyring that is not the one this database was written with, before anything is done with it.

Fingerprints of its keys are kept in the database, sealed with it.
"""

from __future__ import annotations

import hashlib
import json

from orion_core.errors import StartRefused
from orion_core.keyring import Key, Keyring
from orion_core.ports.database import Database
from orion_core.sealing import Unsealable, Where, kid_of, open_, prefix_of, seal
from orion_plugins.auth.tables import SEALED

_PLACE = Where("auth_keyring_mark", "1", "sealed")
_USED = "SELECT 1 AS found FROM users WHERE substr(password_hash, 1, $2) = $1 LIMIT 1"


async def check_keyring(db: Database, keyring: Keyring) -> None:
    """Compare `keyring` with the one that `db` remembers, and remember it from now on; raises `StartRefused`."""
    now = {
        kind: {key.kid: _fingerprint(kind, key) for key in keys}
        for kind, keys in (("pepper", keyring.pepper), ("encryption", keyring.encryption))
    }
    rows = await db.fetch("SELECT sealed FROM auth_keyring_mark WHERE id = 1")
    if not rows:
        sealed = seal(keyring, _PLACE, json.dumps(now).encode())
        await db.fetch(
            "INSERT INTO auth_keyring_mark (id, sealed) VALUES (1, $1) ON CONFLICT (id) DO NOTHING RETURNING id", sealed
        )
        # Another replica may have been faster, with another keyring.
        rows = await db.fetch("SELECT sealed FROM auth_keyring_mark WHERE id = 1")
    try:
        kept: dict[str, dict[str, str]] = json.loads(open_(keyring, _PLACE, rows[0]["sealed"]))
    except Unsealable as error:
        raise _refused(str(error)) from error
    for kind, keys in kept.items():
        for kid, fingerprint in keys.items():
            if now[kind].get(kid, fingerprint) != fingerprint:
                raise _refused(f"its {kind} key {kid} is another one than before")
    for kid in kept["pepper"].keys() - now["pepper"].keys():
        prefix = f"orion1${kid}$"
        if await db.fetch(_USED, prefix, len(prefix)):
            raise _refused(f"it lacks the pepper {kid}, with which passwords of accounts were hashed")
    for kid in kept["encryption"].keys() - now["encryption"].keys():
        prefix = prefix_of(kid)
        for each in SEALED:
            used = f"SELECT 1 AS found FROM {each.table} WHERE substr({each.column}, 1, $2) = $1 LIMIT 1"
            if await db.fetch(used, prefix, len(prefix)):
                raise _refused(f"it lacks the encryption key {kid}, with which {each.table} is still encrypted")
    if kept != now or kid_of(rows[0]["sealed"]) != keyring.encryption[0].kid:
        sealed = seal(keyring, _PLACE, json.dumps(now).encode())
        await db.fetch("UPDATE auth_keyring_mark SET sealed = $1 WHERE id = 1", sealed)


def _refused(why: str) -> StartRefused:
    problem = f"the keyring is not the one that the database of auth was written with: {why}"
    return StartRefused(
        [f"{problem}. Restore it (ORION_KEYRING, or keyring.json in the data folder): passwords and tokens need it"]
    )


def _fingerprint(kind: str, key: Key) -> str:
    return hashlib.sha256(f"orion keyring {kind}|".encode() + key.secret).hexdigest()
