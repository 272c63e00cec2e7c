"""A contract is what a service promises: an abstract class whose async methods are its operations.

::

    class Auth(Contract, name="auth"):
        @raises(EmailTaken)
        @abc.abstractmethod
        async def register(self, data: Register) -> Account: ...

`stub(contract, call)` makes the object through which every caller reaches the service, whatever the reach: in this
process, in this process through the codec, or in another process. Nothing is generated, and a caller cannot tell them
apart, errors included.
"""

from __future__ import annotations

import abc
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, TypeVar

import attrs

from orion_core.errors import CallInsideTransaction, Error, Internal, category
from orion_core.values import Check, describe, invalid, type_check

C = TypeVar("C", bound="Contract")
Method = TypeVar("Method", bound=Callable[..., Any])

_RAISES = "__orion_raises__"
_REPEATABLE = "__orion_repeatable__"


class Contract(abc.ABC):
    """The base of all contracts: ``class Auth(Contract, name="auth")``. A service is a subclass of one contract."""

    contract_name: ClassVar[str] = ""
    """The name under which the service is served: in paths, settings, queues and logs."""

    def __init_subclass__(cls, *, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            cls.contract_name = name


def raises(*errors: type[Error]) -> Callable[[Method], Method]:
    """Declare the errors of an operation: these are revived at the caller as their own class, others as category."""

    def decorate(method: Method) -> Method:
        setattr(method, _RAISES, errors)
        return method

    return decorate


def repeatable(method: Method) -> Method:
    """Mark an operation that has the same effect once or twice, so that a lost answer may be asked for again."""
    setattr(method, _REPEATABLE, True)
    return method


@attrs.frozen
class Operation:
    """One operation of a contract: its parameters by name with their types, its result, its declared errors."""

    contract: str
    name: str
    parameters: Mapping[str, Any]
    signature: inspect.Signature
    result: Any
    raises: tuple[type[Error], ...]
    repeatable: bool
    checks: Mapping[str, Check] = attrs.field(repr=False, eq=False)

    @property
    def declared(self) -> dict[str, type[Error]]:
        """The declared errors by code."""
        return {error.code: error for error in self.raises}

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults filled in; raises `Invalid` for one of the wrong type."""
        if not args and kwargs.keys() == self.parameters.keys():
            given = dict(kwargs)
        elif kwargs or len(args) != len(self.parameters):
            # The signature still has `self`; any object stands for it.
            bound = self.signature.bind(None, *args, **kwargs)
            bound.apply_defaults()
            given = {name: bound.arguments[name] for name in self.parameters}
        else:
            given = dict(zip(self.parameters, args, strict=True))
        for name, check in self.checks.items():
            if not check(given[name]):
                raise invalid(name, "type", f"must be {describe(self.parameters[name])}")
        return given


_operations: dict[type, dict[str, Operation]] = {}


def contract_of(service: type) -> type[Contract]:
    """The contract that the class `service` keeps; raises TypeError for a class that keeps none."""
    for base in service.__mro__:
        if (
            base is not Contract
            and isinstance(base, type)
            and issubclass(base, Contract)
            and "contract_name" in vars(base)
        ):
            return base
    raise TypeError(f"{service.__name__} keeps no contract: derive it from a class made with Contract, name=...")


def modules_of(contract: type) -> tuple[str, ...]:
    """The modules in which `contract` is declared: its own, and those of abstract bases that bring operations."""
    bases = [base for base in contract.__mro__ if base not in (Contract, abc.ABC, object)]
    return tuple(dict.fromkeys(base.__module__ for base in bases))


def operations(contract: type[Contract]) -> Mapping[str, Operation]:
    """The operations of `contract` by name; raises TypeError for one that is not async or not fully annotated."""
    found = _operations.get(contract)
    if found is None:
        found = _operations[contract] = {
            name: _operation(contract, name, getattr(contract, name)) for name in sorted(contract.__abstractmethods__)
        }
    return found


def _operation(contract: type[Contract], name: str, method: Callable[..., Any]) -> Operation:
    where = f"{contract.__name__}.{name}"
    if not inspect.iscoroutinefunction(method):
        raise TypeError(f"{where} must be async: it may be answered by another process")
    signature = inspect.signature(method)
    hints = typing.get_type_hints(method, include_extras=True)
    names = list(signature.parameters)[1:]
    missing = [each for each in [*names, "return"] if each not in hints]
    if missing:
        raise TypeError(f"{where} lacks annotations for {', '.join(missing)}")
    parameters = {each: hints[each] for each in names}
    return Operation(
        contract=contract.contract_name,
        name=name,
        parameters=parameters,
        signature=signature,
        result=hints["return"],
        raises=getattr(method, _RAISES, ()),
        repeatable=getattr(method, _REPEATABLE, False),
        checks={each: type_check(hint) for each, hint in parameters.items()},
    )


Call = Callable[[Operation, dict[str, Any]], Awaitable[Any]]
"""One way to reach a service: given an operation and its arguments by name, answer or raise."""


def stub(contract: type[C], call: Call, inside_transaction: Callable[[], bool]) -> C:
    """An object that keeps `contract` by handing every operation to `call`.

    It refuses a call while `inside_transaction` says that a transaction is open in this task (a transaction that waits
    for another service is one that can deadlock, and that cannot be the same in one process and in many).
    """

    def method(operation: Operation) -> Callable[..., Awaitable[Any]]:
        async def reach(_: Any, *args: Any, **kwargs: Any) -> Any:
            if inside_transaction():
                raise CallInsideTransaction(
                    f"{operation.contract}.{operation.name} was called with a transaction open: "
                    "call before or after it, or publish an event"
                )
            return await call(operation, operation.bind(args, kwargs))

        reach.__name__ = operation.name
        reach.__qualname__ = f"{contract.__name__}.{operation.name}"
        return reach

    methods = {name: method(operation) for name, operation in operations(contract).items()}
    made = type(f"{contract.__name__}Stub", (contract,), {"__slots__": (), "__doc__": contract.__doc__, **methods})
    return typing.cast(C, made())


def as_declared(error: Error, operation: Operation) -> Error:
    """`error` as a caller of `operation` sees it: unchanged if declared or a category, else as its category."""
    kind = type(error)
    general = category(kind)
    if kind is general or kind in operation.raises:
        return error
    if general is Internal:
        # Of no category: a caller cannot act on it, and a stranger must not read it.
        return Internal("something went wrong on our side")
    # revive() is what the other reaches do, so all of them agree.
    detail = f"{operation.contract} lacks something that it needs" if kind.private else error.detail
    seen = general(detail, errors=error.errors, retry_after=error.retry_after)
    seen.reported_code = error.reported_code
    return seen
