"""The port `Authorization` for services that a test builds by hand."""

from __future__ import annotations

from orion_core.authorization import GrantedAuthorization
from orion_core.context import current
from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_access import Question
from orion_core.permissions import Rule, decide
from orion_core.testing.fake import Fake


class FakeAuthorization(GrantedAuthorization):
    """Decides as the platform does, with `rules` as the grants on resources: to whoever asks.

    ::

        authz = FakeAuthorization(Rule("allow", "invoices:read", "invoice:42"))
        with acting(Actor("user", str(ada), permissions=("memos:read",))): ...

    What the actor holds and owns counts as everywhere.
    """

    def __init__(self, *rules: Rule) -> None:
        super().__init__(Fake(Auth))
        self._rules = rules

    async def _decided(self, question: Question) -> tuple[bool, ...]:
        actor, owned = current().actor, frozenset(question.owned)
        return tuple(
            decide(
                question.permission,
                resource,
                held=actor.permissions,
                rules=self._rules if actor.kind == "user" else (),
                owner=resource in owned,
                scopes=actor.scopes,
            ).allowed
            for resource in question.resources or ("",)
        )
