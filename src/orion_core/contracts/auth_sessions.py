"""Sessions: what people and administrators see of them, and how they end them. A part of the contract `Auth`."""

from __future__ import annotations

import abc
from datetime import datetime
from typing import Literal
from uuid import UUID

from orion_core.contract import raises, repeatable
from orion_core.errors import NotFound
from orion_core.values import value

Client = Literal["token", "cookie"]
"""What keeps the refresh tokens of a session: a program, or a browser in a cookie that no script can read."""

MANAGE_SESSIONS = "sessions:manage"
"""The permission to see and end the sessions of others."""


@value
class SessionInfo:
    """A session that goes on, as its owner sees it.

    `current` marks the one that asks. `device` is a name made of `user_agent`, such as ``Firefox on Linux``.
    `ip_address` and `user_agent` are those of the sign-in; `last_used_at` is the time of the last refresh. `amr` says
    how the person signed in (RFC 8176). It ends at `expires_at`, or at `idle_expires_at` without another refresh.
    """

    id: UUID
    current: bool
    client: str
    device: str
    ip_address: str
    user_agent: str
    amr: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime
    idle_expires_at: datetime
    expires_at: datetime


@value
class SessionPage:
    """Sessions that go on, the latest sign-in first; `next_cursor` is None on the last page."""

    items: tuple[SessionInfo, ...]
    next_cursor: str | None


class NoSuchSession(NotFound):
    """The person has no session with this id."""

    code = "auth.no_such_session"


class SessionsOperations(abc.ABC):
    """Seeing and ending sessions: one's own, or those of anybody with the permission `sessions:manage`.

    Everybody else is refused with `Forbidden`; whoever holds it gets `NotFound` for a person who does not exist.
    """

    @repeatable
    @abc.abstractmethod
    async def sessions_of(self, user_id: UUID, cursor: str, limit: int) -> SessionPage:
        """The person's sessions that go on: `limit` (1 to 200) of them after `cursor`, which is empty at first.

        Raises `Malformed` for a cursor that is not from a page of such a list. A reading by somebody else is audited.
        """

    @raises(NoSuchSession)
    @repeatable
    @abc.abstractmethod
    async def end_session(self, user_id: UUID, session_id: UUID) -> None:
        """End one session of the person, at once and everywhere; raises `NoSuchSession`. Twice is as good as once."""

    @repeatable
    @abc.abstractmethod
    async def end_sessions(self, user_id: UUID, keep_current: bool) -> None:
        """End all sessions of the person, or with `keep_current` all but the one that asks."""
