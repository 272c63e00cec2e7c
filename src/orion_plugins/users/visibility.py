"""Whom the caller may see: oneself, and with `users:read` everybody. Platform services see everybody."""

from __future__ import annotations

from uuid import UUID

from orion_core.context import Actor, current
from orion_core.contracts.users import NoSuchPerson


def is_own(actor: Actor, user_id: UUID) -> bool:
    """Whether `user_id` is the person who asks."""
    return actor.kind == "user" and actor.user_id == user_id


def require_signed_in() -> None:
    """Raise `Unauthenticated` for nobody."""
    actor = current().actor
    if actor.kind == "anonymous":
        actor.require("users:read")


def sees_all() -> bool:
    """Whether the caller may see everybody."""
    actor = current().actor
    return actor.trusted or actor.may("users:read")


def sees(user_id: UUID) -> bool:
    """Whether the caller may see this person."""
    return sees_all() or is_own(current().actor, user_id)


def require_visible(user_id: UUID) -> None:
    """Raise unless the caller may see this person; whether there is such a one is nothing others may learn."""
    require_signed_in()
    if not sees(user_id):
        raise no_such_person(user_id)


def no_such_person(user_id: UUID) -> NoSuchPerson:
    """What is said of people who are not there, and of those who are hidden."""
    return NoSuchPerson(f"there is no person with the id {user_id}")
