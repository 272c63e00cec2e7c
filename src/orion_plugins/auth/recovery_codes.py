"""Recovery codes: ten for a person, each of which stands in for the app once.

A code has 120 random bits, so a salted SHA-256 is enough (ASVS 6.5.2 asks for a password hash below 112 bits).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime
from uuid import UUID

from orion_core.ids import new_id
from orion_plugins.auth.tables import RecoveryCode

COUNT = 10
_BYTES = 15
_GROUP = 4
_CODE = re.compile(r"[A-Z2-7]{24}")


async def replace(user_id: UUID, now: datetime) -> tuple[str, ...]:
    """Ten new codes in place of those that were left, in the running transaction."""
    await forget(user_id)
    codes = []
    for _ in range(COUNT):
        code, salt = base64.b32encode(secrets.token_bytes(_BYTES)).decode(), secrets.token_hex(16)
        row = RecoveryCode(id=new_id(), user_id=user_id, salt=salt, code_hash=_hash(salt, code), created_at=now)
        await RecoveryCode.insert(row)
        codes.append("-".join(code[start : start + _GROUP] for start in range(0, len(code), _GROUP)))
    return tuple(codes)


async def forget(user_id: UUID) -> None:
    """Remove all codes of a person, in the running transaction."""
    await RecoveryCode.delete().where(RecoveryCode.user_id == user_id)


async def left(user_id: UUID) -> int:
    """How many codes were not used yet."""
    return int(await RecoveryCode.count().where((RecoveryCode.user_id == user_id) & RecoveryCode.used_at.is_null()))


async def spend(user_id: UUID, text: str, now: datetime) -> bool:
    """Use a code up, in the running transaction; False for one that does not count. Case and dashes do not matter."""
    code = text.replace("-", "").replace(" ", "").upper()
    if not _CODE.fullmatch(code):
        return False
    unused = (RecoveryCode.user_id == user_id) & RecoveryCode.used_at.is_null()
    matching = [
        row["id"]
        for row in await RecoveryCode.select(RecoveryCode.id, RecoveryCode.salt, RecoveryCode.code_hash).where(unused)
        if hmac.compare_digest(row["code_hash"], _hash(row["salt"], code))
    ]
    if not matching:
        return False
    claimed = await (
        RecoveryCode.update({RecoveryCode.used_at: now})
        .where((RecoveryCode.id == matching[0]) & RecoveryCode.used_at.is_null())
        .returning(RecoveryCode.id)
    )
    return bool(claimed)


def _hash(salt: str, code: str) -> str:
    return hashlib.sha256(f"orion recovery|{salt}|{code}".encode()).hexdigest()
