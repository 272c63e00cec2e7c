"""The port `Authorization`: what is decided here, what is asked, and how a denial shows."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import attrs
import pytest

from orion_core.authorization import GrantedAuthorization
from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting
from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_access import MOST_ASKED, Answer, Question
from orion_core.errors import CallInsideTransaction, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from orion_core.ports.database import OPEN_TRANSACTION
from orion_core.testing import Fake

READ, WRITE, INVOICE = "invoices:read", "invoices:write", "invoice:42"
ADA_ID = uuid4()
ADA = Actor("user", str(ADA_ID))
CLERK = attrs.evolve(ADA, permissions=(READ,))


class Asked:
    """An auth that allows the resources in `allowed`, and remembers what it was asked."""

    def __init__(self, *allowed: str, away: bool = False) -> None:
        self.questions: list[Question] = []
        self._allowed = allowed
        self._away = away
        self.authz = GrantedAuthorization(Fake(Auth, decide=self._decide))

    async def _decide(self, question: Question) -> Answer:
        self.questions.append(question)
        if self._away:
            raise Unavailable("auth is away")
        found = tuple(resource in self._allowed for resource in question.resources or ("",))
        return Answer(found, tuple("grant" if each else "no_permission" for each in found))


async def test_without_grants_nobody_is_asked() -> None:
    """A53."""
    asked = Asked(INVOICE)
    for actor, allowed in (
        (ANONYMOUS, False),
        (ADA, False),
        (CLERK, True),
        (SYSTEM, True),
        (Actor("service", "x"), True),
    ):
        with acting(actor):
            assert await asked.authz.can(READ, INVOICE) is allowed
            assert await asked.authz.can(READ) is allowed
    with acting(ADA):
        assert await asked.authz.can(WRITE, INVOICE, owner=ADA_ID)
        assert not await asked.authz.can(WRITE, INVOICE, owner=uuid4())
        assert await asked.authz.visible(READ, {"invoice:1": None, "invoice:2": ADA_ID}) == ("invoice:2",)
    assert asked.questions == []


async def test_where_grants_may_matter_auth_decides_about_all_at_once() -> None:
    """A53: even about what a role allows, for a grant may deny it."""
    asked = Asked("invoice:1", "invoice:3")
    with acting(attrs.evolve(CLERK, granted=True)):
        assert await asked.authz.can(READ, "invoice:1")
        assert not await asked.authz.can(READ, "invoice:2")
        asked.questions.clear()
        wanted = {f"invoice:{number}": ADA_ID if number == 2 else None for number in range(5)}
        assert await asked.authz.visible(READ, wanted) == ("invoice:1", "invoice:3")
    assert asked.questions == [Question(READ, tuple(wanted), ("invoice:2",))]


async def test_very_many_are_asked_about_in_parts() -> None:
    asked = Asked("invoice:0", f"invoice:{MOST_ASKED}")
    with acting(attrs.evolve(ADA, granted=True)):
        found = await asked.authz.visible(READ, dict.fromkeys((f"invoice:{n}" for n in range(MOST_ASKED + 1)), None))
        assert await asked.authz.visible(READ, {}) == ()
    assert found == ("invoice:0", f"invoice:{MOST_ASKED}")
    assert [len(question.resources) for question in asked.questions] == [MOST_ASKED, 1]


async def test_hidden_is_not_found_and_visible_but_forbidden_is_forbidden() -> None:
    """A55."""
    asked = Asked()
    with acting(ADA):
        for permission in (READ, WRITE):
            with pytest.raises(NotFound, match="there is no invoice 42"):
                await asked.authz.require(permission, INVOICE)
        with pytest.raises(Forbidden, match="invoices:read"):
            await asked.authz.require(READ, INVOICE, sees="")
        with pytest.raises(Forbidden, match="invoices:export"):
            await asked.authz.require("invoices:export")
    with acting(CLERK):
        await asked.authz.require(READ, INVOICE)
        with pytest.raises(Forbidden, match="invoices:write for invoice:42"):
            await asked.authz.require(WRITE, INVOICE)
        with pytest.raises(NotFound):
            await asked.authz.require(WRITE, INVOICE, sees="secrets:read")
    with acting(ANONYMOUS), pytest.raises(Unauthenticated):
        await asked.authz.require(READ, INVOICE)


async def test_a_denied_attempt_is_told_to_auth_once_and_asking_is_not() -> None:
    """A55."""
    for granted in (False, True):
        asked = Asked()
        with acting(attrs.evolve(ADA, granted=granted)), pytest.raises(NotFound):
            await asked.authz.require(READ, INVOICE)
        assert [question for question in asked.questions if question.attempt] == [
            Question(READ, (INVOICE,), attempt=True)
        ]


async def test_a_grant_given_just_now_counts_before_the_actor_knows() -> None:
    asked = Asked(INVOICE)
    with acting(ADA):
        await asked.authz.require(READ, INVOICE)


async def test_with_auth_away_nothing_is_allowed_that_it_would_decide() -> None:
    """A36."""
    asked = Asked(away=True)
    with acting(attrs.evolve(CLERK, granted=True)):
        for wish in (asked.authz.can(READ, INVOICE), asked.authz.require(READ, INVOICE)):
            with pytest.raises(Unavailable):
                await wish
    with acting(ADA), pytest.raises(NotFound):
        await asked.authz.require(READ, INVOICE)
    with acting(CLERK):
        await asked.authz.require(READ, INVOICE)


@pytest.mark.parametrize(
    ("permission", "resource"),
    [
        ("invoices", INVOICE),
        ("invoices:*", INVOICE),
        ("*", INVOICE),
        (READ, "invoice:*"),
        (READ, "invoice"),
        (READ, "invoice:a b"),
        (READ, "invoice:\x00"),
        (READ, "invoice:" + "x" * 161),
    ],
)
async def test_a_question_about_a_pattern_or_about_nonsense_is_refused(permission: str, resource: str) -> None:
    """A53: an id from a URL never becomes a wildcard."""
    for actor in (ADA, SYSTEM):
        with acting(actor), pytest.raises(Invalid):
            await Asked().authz.can(permission, resource)


async def test_inside_a_transaction_it_is_refused_whatever_the_answer_would_be() -> None:
    transaction: Any = object()
    token = OPEN_TRANSACTION.set(transaction)
    try:
        for actor in (SYSTEM, CLERK, attrs.evolve(CLERK, granted=True)):
            with acting(actor), pytest.raises(CallInsideTransaction):
                await Asked().authz.can(READ, INVOICE)
    finally:
        OPEN_TRANSACTION.reset(token)
