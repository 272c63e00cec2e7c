"""Contracts, their operations, and the stub through which everybody calls."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any

import attrs
import pytest

from orion_core.contract import Contract, Operation, contract_of, operations, raises, repeatable, stub
from orion_core.errors import CallInsideTransaction, Conflict, Internal, Invalid
from orion_core.plugin import Plugin
from orion_core.ports.database import Database
from orion_core.testing import InProcess


class Sold(Conflict):
    """It is gone."""

    code = "shop.sold"


class Shop(Contract, name="shop"):
    """Sells."""

    @raises(Sold)
    @abc.abstractmethod
    async def sell(self, article: str, count: int = 1) -> int: ...

    @repeatable
    @abc.abstractmethod
    async def stock(self) -> int: ...


class ShopService(Shop):
    """Sells what it is asked for."""

    async def sell(self, article: str, count: int = 1) -> int:
        return count

    async def stock(self) -> int:
        return 0

    async def helper(self) -> None:
        """Not promised."""


def calling(seen: list[Any]) -> Shop:
    """A stub that notes what it is asked for."""

    async def call(operation: Operation, args: dict[str, Any]) -> Any:
        seen.append((operation.name, args))
        return 7

    return stub(Shop, call, lambda: False)


def test_the_operations_are_what_the_contract_declares() -> None:
    found = operations(Shop)

    assert list(found) == ["sell", "stock"]
    sell = found["sell"]
    assert (sell.contract, sell.parameters, sell.result) == ("shop", {"article": str, "count": int}, int)
    assert (sell.declared, sell.repeatable, found["stock"].repeatable) == ({"shop.sold": Sold}, False, True)
    assert contract_of(ShopService) is Shop


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("pen",), {}),
        (("pen", 1), {}),
        ((), {"article": "pen"}),
        (("pen",), {"count": 1}),
        ((), {"count": 1, "article": "pen"}),
    ],
)
async def test_arguments_are_given_as_in_any_python_call(args: Any, kwargs: Any) -> None:
    seen: list[Any] = []

    assert await calling(seen).sell(*args, **kwargs) == 7
    assert seen == [("sell", {"article": "pen", "count": 1})]


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("a", 1, 2), {}), (("a",), {"article": "b"}), (("a",), {"x": 1})]
)
async def test_wrong_arguments_are_a_defect_of_the_caller(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError):
        await calling([]).sell(*args, **kwargs)


@pytest.mark.parametrize(("args", "field"), [((5,), "article"), (("pen", "2"), "count"), (("pen", True), "count")])
async def test_arguments_of_a_wrong_type_are_invalid_and_named(args: Any, field: str) -> None:
    with pytest.raises(Invalid) as wrong:
        await calling([]).sell(*args)

    assert [item.field for item in wrong.value.errors] == [field]


def test_a_stub_keeps_the_contract_and_nothing_more() -> None:
    made = calling([])

    assert isinstance(made, Shop)
    assert not hasattr(made, "helper")
    assert type(made).sell.__qualname__ == "Shop.sell"


async def test_a_stub_refuses_a_call_inside_a_transaction() -> None:
    async def call(operation: Operation, args: dict[str, Any]) -> Any:
        raise AssertionError("was called")

    with pytest.raises(CallInsideTransaction, match=r"shop\.stock was called with a transaction open"):
        await stub(Shop, call, lambda: True).stock()


class Careless(Contract, name="careless"):
    """Calls where it must not."""

    @abc.abstractmethod
    async def act(self, inside: bool) -> int: ...


@attrs.frozen
class CarelessService(Careless):
    """Calls another service, inside a transaction or after it."""

    db: Database
    shop: Shop

    async def act(self, inside: bool) -> int:
        async with self.db.transaction():
            if inside:
                return await self.shop.stock()
        return await self.shop.stock()


@pytest.mark.parametrize("reach", ["local", "wire"])
async def test_a_service_cannot_call_another_inside_its_transaction(
    reach: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In one process it would work, in many it would deadlock: so it is a defect everywhere."""
    plugins = [Plugin("shop", service=ShopService), Plugin("careless", service=CarelessService)]
    async with InProcess(tmp_path, ["shop", "careless"], plugins=plugins, reach=reach) as orion:
        assert await orion.service(Careless).act(False) == 0
        with pytest.raises(Internal, match=r"^something went wrong on our side$"):
            await orion.service(Careless).act(True)

    assert "shop.stock was called with a transaction open" in caplog.text


def test_an_operation_must_be_async_and_annotated() -> None:
    class Sync(Contract, name="sync"):
        @abc.abstractmethod
        def now(self) -> int: ...

    class Bare(Contract, name="bare"):
        @abc.abstractmethod
        async def act(self, what, count: int): ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match=r"Sync\.now must be async"):
        operations(Sync)
    with pytest.raises(TypeError, match=r"Bare\.act lacks annotations for what, return"):
        operations(Bare)


def test_a_class_without_a_contract_keeps_none() -> None:
    for cls in (int, Contract):
        with pytest.raises(TypeError, match="keeps no contract"):
            contract_of(cls)
