"""What of a person the search service may find."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orion_core.contracts.auth import UserRegistered
from orion_core.contracts.users import DocumentPage, ProfileChanged, UserErased
from orion_core.json_value import Json
from orion_core.paging import from_cursor, to_cursor
from orion_core.plugin import Searchable
from orion_plugins.users.tables import ACTIVE, UserProfile

PAGE = 200
_TEXTS = ("name", "first_name", "last_name", "bio")


def registered(event: UserRegistered) -> dict[str, Any]:
    """What is known of a new person."""
    registered_at = event.registered_at.isoformat()
    return {"id": str(event.user_id), "email": event.email, "name": event.name, "created_at": registered_at}


def changed(event: ProfileChanged) -> dict[str, Any]:
    """What a changed profile says."""
    return {"id": str(event.user_id), **{name: getattr(event, name) for name in _TEXTS}}


def erased(event: UserErased) -> str:
    """Who is to be found no more."""
    return str(event.user_id)


SEARCHABLE = Searchable(
    index="users",
    documents={UserRegistered: registered, ProfileChanged: changed},
    removals={UserErased: erased},
    text={"name": 5, "first_name": 5, "last_name": 5, "email": 3, "bio": 1},
    filterable={"name": str, "first_name": str, "last_name": str, "email": str, "created_at": datetime},
    owner="id",
    permission="users:read",
    personal=("email", *_TEXTS),
    pages="pages",
)


async def page(cursor: str) -> DocumentPage:
    """The profiles whose id comes after that in `cursor`."""
    query = UserProfile.objects().where(UserProfile.state == ACTIVE).order_by(UserProfile.user_id).limit(PAGE + 1)
    if cursor:
        query = query.where(UserProfile.user_id > from_cursor(cursor))
    rows = await query
    documents = tuple(
        Json.of(
            {
                "id": str(row.user_id),
                "email": row.email,
                **{name: getattr(row, name) for name in _TEXTS},
                "created_at": row.created_at.isoformat(),
            }
        )
        for row in rows[:PAGE]
    )
    return DocumentPage(documents, to_cursor(rows[PAGE - 1].user_id) if len(rows) > PAGE else None)
