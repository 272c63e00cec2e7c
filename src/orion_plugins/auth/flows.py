"""Mailed steps in progress: begun in a transaction with the job that sends the mail, and spent once.

A token has 256 random bits and a code 6 digits; both are stored as hashes only, and sealed until the mail has left.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from orion_core.contracts.auth_accounts import InvalidCode, InvalidToken
from orion_core.errors import FieldError
from orion_core.ids import new_id
from orion_core.jobs import Jobs
from orion_core.keyring import Keyring
from orion_core.ports.database import Database
from orion_core.sealing import Where, open_, seal
from orion_plugins.auth.audit import record
from orion_plugins.auth.emails import Address
from orion_plugins.auth.flow_kinds import Kind
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import Flow
from orion_plugins.auth.tokens import fingerprint

TRIES = 5
"""How often a code may be tried."""
_TOKEN = re.compile(r"omt_[A-Za-z0-9_-]{43}")
_CODE = re.compile(r"[0-9]{6}")
# One statement, so that however many try at once no more than the limit are looked at.
_TRY = """
UPDATE auth_flows SET tries = tries + 1
WHERE id = $1 AND tries < $2 AND used_at IS NULL AND code_hash <> '' AND code_expires_at > $3
RETURNING code_hash, user_id
"""


class Flows:
    """The mailed steps of one database. `mail` is the job that sends the mail of a step, by its id."""

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        keyring: Keyring,
        settings: AuthSettings,
        mail: Callable[[UUID], Awaitable[None]],
    ) -> None:
        self._db = db
        self._jobs = jobs
        self._keyring = keyring
        self._settings = settings
        self._mail = mail

    async def begin(
        self,
        kind: Kind,
        address: Address,
        now: datetime,
        *,
        user_id: UUID | None = None,
        redirect_to: str = "",
        payload: dict[str, str] | None = None,
        group_id: UUID | None = None,
        session_id: UUID | None = None,
    ) -> UUID:
        """Begin a step whose mail goes to `address`, in the running transaction; its id."""
        flow_id = new_id()
        secret = {"token": f"omt_{secrets.token_urlsafe(32)}"} if kind.path else {}
        if kind.code:
            secret["code"] = f"{secrets.randbelow(10**6):06}"
        await Flow.insert(
            Flow(
                id=flow_id,
                kind=kind.name,
                user_id=user_id,
                email=address.email,
                email_key=address.key,
                token_hash=fingerprint(secret["token"]) if kind.path else None,
                code_hash=self._code_hash(flow_id, secret["code"]) if kind.code else "",
                group_id=group_id,
                session_id=session_id,
                redirect_to=redirect_to,
                secret=self._sealed(flow_id, "secret", secret),
                payload=self._sealed(flow_id, "payload", payload or {}),
                created_at=now,
                expires_at=now + kind.life(self._settings),
                code_expires_at=now + self._settings.code_ttl if kind.code else None,
                used_at=None,
            )
        )
        await self._jobs.enqueue(self._mail, flow_id, priority="high")
        return flow_id

    async def by_token(self, token: str, now: datetime, *kinds: Kind) -> Flow:
        """The unspent step of one of `kinds` with this token; raises `InvalidToken`."""
        wanted = fingerprint(token) if _TOKEN.fullmatch(token) else ""
        flow = await Flow.objects().where(Flow.token_hash == wanted).first() if wanted else None
        if (
            flow is None
            or not hmac.compare_digest(flow.token_hash, wanted)
            or flow.kind not in [kind.name for kind in kinds]
            or flow.used_at is not None
            or flow.expires_at <= now
        ):
            raise invalid_token()
        return flow

    async def by_code(self, flow_id: UUID, code: str, now: datetime) -> Flow:
        """The unspent step that has this code; each call is one of five tries. Raises `InvalidCode`.

        Not for use inside a transaction: a failed try stays counted.
        """
        tried = await self._db.fetch(_TRY, flow_id, TRIES, now) if _CODE.fullmatch(code) else []
        if not tried:
            raise invalid_code()
        if not hmac.compare_digest(tried[0]["code_hash"], self._code_hash(flow_id, code)):
            user_id = tried[0]["user_id"]
            await record("email_verified", now, outcome="failure", user_id=user_id, reason="wrong_code", method="email")
            raise invalid_code()
        flow = await Flow.objects().where(Flow.id == flow_id).first()
        if flow is None:
            raise invalid_code()
        return flow

    async def spend(self, flow: Flow, now: datetime) -> bool:
        """Mark the step as done, in the running transaction; False when somebody was faster or it has ended."""
        claimed = await (
            Flow.update({Flow.used_at: now, Flow.secret: "", Flow.payload: ""})
            .where((Flow.id == flow.id) & Flow.used_at.is_null() & (Flow.expires_at > now))
            .returning(Flow.id)
        )
        return bool(claimed)

    async def end(self, user_id: UUID, *kinds: Kind) -> None:
        """End the steps of an account that are of `kinds`."""
        await Flow.delete().where((Flow.user_id == user_id) & Flow.kind.is_in([kind.name for kind in kinds]))

    def payload(self, flow: Flow) -> dict[str, str]:
        """What the step will do."""
        return self._opened(flow.id, "payload", flow.payload)

    def secret(self, flow: Flow) -> dict[str, str]:
        """What the mail has to say and nobody else may know; empty when it has left."""
        return self._opened(flow.id, "secret", flow.secret)

    async def purge(self, now: datetime) -> None:
        """Delete the steps that are over."""
        await Flow.delete().where(Flow.expires_at <= now)

    def _code_hash(self, flow_id: UUID, code: str) -> str:
        # With a key: whoever has only the database would find 6 digits in no time.
        key = self._keyring.pepper[0].secret
        return hmac.new(key, f"orion code|{flow_id}|{code}".encode(), hashlib.sha256).hexdigest()

    def _sealed(self, flow_id: UUID, column: str, plain: dict[str, str]) -> str:
        if not plain:
            return ""
        return seal(self._keyring, Where("auth_flows", str(flow_id), column), json.dumps(plain).encode())

    def _opened(self, flow_id: UUID, column: str, sealed: str) -> dict[str, str]:
        if not sealed:
            return {}
        found: dict[str, str] = json.loads(open_(self._keyring, Where("auth_flows", str(flow_id), column), sealed))
        return found


def invalid_token() -> InvalidToken:
    """The one refusal of all tokens that do not count."""
    detail = "does not count any more, or never did: ask for another mail"
    return InvalidToken(f"token: {detail}", errors=[FieldError("token", "invalid", detail)])


def invalid_code() -> InvalidCode:
    """The one refusal of all codes that do not count."""
    detail = "does not count: look again, or ask for another mail"
    return InvalidCode(f"code: {detail}", errors=[FieldError("code", "invalid", detail)])
