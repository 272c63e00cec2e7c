"""Who asks, what they may, and how long a context lasts."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from orion_core.background import spawn
from orion_core.context import (
    ANONYMOUS,
    SYSTEM,
    Actor,
    Context,
    acting,
    child_traceparent,
    current,
    new_traceparent,
    use,
)
from orion_core.errors import Forbidden, Unauthenticated

ID = "01a20342-f02a-7b8b-ad9c-38f0351d0b4d"


@pytest.mark.parametrize(
    ("held", "asked", "may"),
    [
        ((), "orders:read", False),
        (("orders:read",), "orders:read", True),
        (("orders:read",), "orders:write", False),
        (("orders:read",), "orders:read:all", False),
        (("orders:*",), "orders:write", True),
        (("orders:*",), "ordersx:write", False),
        (("orders:*",), "orders", False),
        (("*",), "anything:at-all", True),
        (("*:read",), "orders:read", False),
        (("ORDERS:read",), "orders:read", False),
        (("",), "orders:read", False),
    ],
)
def test_a_permission_is_held_by_name_or_by_a_star_at_its_end(held: tuple[str, ...], asked: str, may: bool) -> None:
    assert Actor("user", ID, permissions=held).may(asked) is may


def test_only_the_system_may_everything() -> None:
    SYSTEM.require("orders:write")
    with pytest.raises(Forbidden, match="this needs the permission orders:write"):
        Actor("service", "users").require("orders:write")
    with pytest.raises(Forbidden):
        Actor("user", ID).require("orders:write")
    with pytest.raises(Unauthenticated):
        ANONYMOUS.require("orders:write")


def test_only_a_person_has_a_persons_id() -> None:
    assert Actor("user", ID).user_id == UUID(ID)
    for actor in (ANONYMOUS, SYSTEM, Actor("service", ID)):
        with pytest.raises(Unauthenticated):
            _ = actor.user_id


def test_actors_have_names_and_chains_an_originator() -> None:
    assert [actor.name for actor in (ANONYMOUS, SYSTEM, Actor("user", ID))] == ["anonymous", "system", f"user:{ID}"]
    assert Context(actor=Actor("service", "users", originator=f"user:{ID}")).originator == f"user:{ID}"
    assert Context(actor=Actor("user", ID)).originator == f"user:{ID}"


async def test_a_context_ends_with_its_block_and_a_background_task_begins_without_one() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append(current().actor.name)

    with use(Context(actor=Actor("user", ID), correlation_id="c")):
        with acting(ANONYMOUS) as inner:
            assert (inner.correlation_id, current().actor) == ("c", ANONYMOUS)
            await asyncio.create_task(work())
            await spawn(work(), "work")
        assert current().actor == Actor("user", ID)
    assert current().actor == SYSTEM
    assert seen == ["anonymous", "system"]


def test_a_child_stays_in_its_trace() -> None:
    parent = new_traceparent()
    child = child_traceparent(parent)

    assert child.split("-")[1] == parent.split("-")[1]
    assert child.split("-")[2] != parent.split("-")[2]
    assert child_traceparent(f"cc{parent[2:]}").startswith("00-")
