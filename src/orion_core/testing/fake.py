"""A contract kept by plain functions, in place of a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from orion_core.contract import Call, Contract, Operation, operations, stub
from orion_core.errors import Unavailable
from orion_core.ports.database import in_transaction

C = TypeVar("C", bound=Contract)
Answer = Callable[..., Awaitable[Any]] | Any


def fake_call(contract: type[Contract], answers: dict[str, Answer]) -> Call:
    """A way to reach `contract` that answers each operation by its entry in `answers`."""
    unknown = sorted(set(answers) - set(operations(contract)))
    if unknown:
        raise TypeError(f"{contract.__name__} has no operation {', '.join(unknown)}")

    async def call(operation: Operation, args: dict[str, Any]) -> Any:
        if operation.name not in answers:
            raise Unavailable(f"the fake of {operation.contract} has no answer to {operation.name}")
        given = answers[operation.name]
        if isinstance(given, BaseException):
            raise given
        if not callable(given):
            return given
        found = given(**args)
        return await found if isinstance(found, Awaitable) else found

    return call


def Fake(contract: type[C], /, **answers: Answer) -> C:  # noqa: N802 - reads as the thing it makes
    """An object that keeps `contract`: each operation answers by a function of its arguments, a value or an exception.

    ``Fake(Users, get=lambda user_id: profile)``. Arguments are checked as everywhere; an operation without an answer
    raises `Unavailable`, one inside a transaction is refused; a name that is no operation raises TypeError.
    """
    return stub(contract, fake_call(contract, answers), in_transaction)
